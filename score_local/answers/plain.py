"""LaTeX and Markdown to plain text, as far as an answer needs it. What it does not know keeps its backslash."""

from __future__ import annotations

import re

_TIGHT = r"[-−–+]?(?:[\d.,\u2009]+)"  # a number, inside \frac{}{}
_RULES = [
    (r"\{,\}|,\\!", ","),  # 1{,}200 and 1,\!200 are typeset without the space after a comma
    (r"\\!", ""),
    (r"\\[,;:]", "\u2009"),
    (r"~|\\[ ]|\\q?quad(?![A-Za-z])", " "),
    (r"\\(?:left|right|displaystyle|boxed|big|Big)(?![A-Za-z])|\\[()\[\]]", ""),
    (r"\\(?:text|math)(?:bf|it|rm|sf|tt|normal|md|up)?(?![A-Za-z])|\\(?:mbox|operatorname|boldsymbol)\b", " "),
    (r"\^?[ ]?\{?[ ]?\\(?:circ|degree)(?![A-Za-z])[ ]?\}?", "°"),
    (r"\\(?:times|cdot|ast)(?![A-Za-z])", "×"),
    (r"\\(?:approx|simeq)(?![A-Za-z])", "≈"),
    (r"\\(?:pounds|euro)(?![A-Za-z])", " "),
    (r"\\([%$#&_{}])", r"\1"),
    # 2\frac{1}{2} is a mixed number, -\frac{1}{2} keeps its sign
    (rf"(?<=\d)\s*\\[dtc]?frac\s*(?:\{{\s*({_TIGHT})\s*\}}|(\d))\s*(?:\{{\s*({_TIGHT})\s*\}}|(\d))", r" \1\2/\3\4"),
    (rf"\\[dtc]?frac\s*(?:\{{\s*({_TIGHT})\s*\}}|(\d))\s*(?:\{{\s*({_TIGHT})\s*\}}|(\d))", r"\1\2/\3\4"),
    (r"\^\s*\{([^{}]*)\}", r"^\1"),
    (r"[{}]", ""),
    (r"(?<=[-−–+])\s*\$", ""),
    (r"\$", " "),
    # Emphasis; between digits the stars are an operator.
    (r"(?<![\d)\s])\*\*|\*\*(?![\d(\s])|^[\s*_`]+|[\s*_`]+$", ""),
]
_COMPILED = [(re.compile(pattern), replacement) for pattern, replacement in _RULES]


def plain(text: str) -> str:
    r"""`\text{B}` -> "B", `\$1{,}200` -> "1,200", `2\frac{1}{2}` -> "2 1/2"; dollar signs and emphasis are dropped."""
    for pattern, replacement in _COMPILED:
        text = pattern.sub(replacement, text)
    return text.strip()
