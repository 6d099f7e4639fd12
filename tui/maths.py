r"""LaTeX that a model writes, as Unicode: `\frac{3}{4} \times x^2` is shown as `3/4 × x²`.

`pylatexenc` reads the macros; scripts are ours, since it keeps them as they are. Knows nothing of Markdown or of
screens. What cannot be read stays as it was written.
"""

from __future__ import annotations

import re
from functools import cache, lru_cache
from typing import Any

LONGEST = 2000  # characters of one formula; what is longer is no formula
HIGH = str.maketrans("0123456789+-=()abcdefghijklmnoprstuvwxyz", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁼⁽⁾ᵃᵇᶜᵈᵉᶠᵍʰⁱʲᵏˡᵐⁿᵒᵖʳˢᵗᵘᵛʷˣʸᶻ")
LOW = str.maketrans("0123456789+-=()aehijklmnoprstuvx", "₀₁₂₃₄₅₆₇₈₉₊₋₌₍₎ₐₑₕᵢⱼₖₗₘₙₒₚᵣₛₜᵤᵥₓ")

_SCRIPT = re.compile(r"(?<!\\)([\^_])(?:\{((?:[^{}]|\{[^{}]*\})*)\}|(\\[a-zA-Z]+|[^\s\\{}]))")
_SIZES = re.compile(r"\\(?:left|right|[bB]igg?[lr]?)(?![a-zA-Z])\.?")
_BREAK = re.compile(r"\\\\(?:\[[^\]]*\])?\s*")
_SIMPLE = re.compile(r"[\w.,%$√]*")
_OPERATOR = re.compile(r" *([×÷·±=<>≤≥≠≈≡→∈]) *")
_MACROS = {"frac": "{{", "dfrac": "{{", "tfrac": "{{", "cfrac": "{{", "sqrt": "[{", "boxed": "{", "text": "{"}


@lru_cache(maxsize=4096)
def to_unicode(latex: str) -> str:
    """One formula without its delimiters; unchanged where it cannot be read."""
    if len(latex) > LONGEST:
        return latex
    flat = _BREAK.sub("\n", _SIZES.sub("", latex)).replace("&", "")
    try:
        text = _converted(_SCRIPT.sub(_script, flat))
    except Exception:  # the library's errors have no common root, and a formula is never worth a crash
        return latex
    return "\n".join(_OPERATOR.sub(r" \1 ", line).strip() for line in text.strip().splitlines())


def _converted(latex: str) -> str:
    from pylatexenc.latexwalker import LatexWalker

    known, converter = _reader()
    nodes, _, _ = LatexWalker(latex, latex_context=known, tolerant_parsing=False).get_latex_nodes()
    text: str = converter.nodelist_to_text(nodes)
    return text


def _script(found: re.Match[str]) -> str:
    """`^{2n}` as ²ⁿ where every character has a raised (or lowered) form, else as ^(...)."""
    sign, body = found[1], found[2] if found[2] is not None else found[3]
    if sign == "^" and body.strip() == r"\circ":
        return "°"
    moved = body.translate(HIGH if sign == "^" else LOW)
    if all(a != b for a, b in zip(moved, body, strict=True)):
        return f"{{}}{moved}"  # the braces end a macro's name: \\sum_i
    return f"{{}}{sign}({body})" if len(body) > 1 else f"{{}}{sign}{body}"


@cache
def _reader() -> tuple[Any, Any]:
    """The macros that are known, with their arguments, and what turns their nodes into text."""
    from pylatexenc.latex2text import LatexNodes2Text, MacroTextSpec, get_default_latex_context_db
    from pylatexenc.latexwalker import get_default_latex_context_db as get_default_macros
    from pylatexenc.macrospec import MacroSpec

    known, shown = get_default_macros(), get_default_latex_context_db()
    known.add_context_category("score-local", prepend=True, macros=[MacroSpec(*macro) for macro in _MACROS.items()])
    macros = [MacroTextSpec(name, _fraction) for name in _MACROS if name.endswith("frac")]
    macros += [MacroTextSpec("sqrt", _root), MacroTextSpec("boxed", "⟦%s⟧"), MacroTextSpec("ne", "≠")]
    shown.add_context_category("score-local", prepend=True, macros=macros)
    shown.set_unknown_macro_spec(MacroTextSpec("", lambda node: f"\\{node.macroname}{node.macro_post_space}"))
    return known, LatexNodes2Text(latex_context=shown, math_mode="text", strict_latex_spaces=True, keep_comments=True)


def _fraction(node: Any, l2tobj: Any) -> str:
    above, below = (grouped(l2tobj.nodelist_to_text([part])) for part in node.nodeargd.argnlist)
    return f"{above}/{below}"


def _root(node: Any, l2tobj: Any) -> str:
    degree, of = node.nodeargd.argnlist
    index = l2tobj.nodelist_to_text([degree]).strip("[]").translate(HIGH) if degree else ""
    return f"{index}√{grouped(l2tobj.nodelist_to_text([of]))}"


def grouped(part: str) -> str:
    """A numerator or denominator, in brackets where a fraction on one line would read otherwise."""
    part = part.strip()
    return part if _SIMPLE.fullmatch(part) else f"({part})"
