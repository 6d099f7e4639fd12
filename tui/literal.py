"""Shows text of a model, a file or a person as it is: no control character reaches the terminal, none is lost.

What is markup to the screen's library stays text because the screens hand it on as `Text` or `Content`, never as a
markup string; this module takes care of what would be an order to the terminal.
"""

from __future__ import annotations

import re
import unicodedata

TAB = "    "
JOINERS = "\u200c\u200d"  # needed by scripts and emoji, and harmless
PICTURES = {**{chr(code): chr(0x2400 + code) for code in range(32)}, "\x7f": "\u2421", "\t": TAB, "\n": "\n"}
SUSPECT = re.compile(r"[^\x20-\x7e\n\u00a1-\u00ac\u00ae-\u05ff\u3000-\ud7ff]")


def literal(text: str) -> str:
    """The text with control, direction and other invisible characters made visible; only line breaks stay.

    ESC is shown as its picture, a right-to-left override as <202E>.
    """
    return SUSPECT.sub(lambda found: _visible(found[0]), text.replace("\r\n", "\n"))


def one_line(text: str, width: int) -> str:
    """The text on one line of at most `width` characters, cut with an ellipsis."""
    line = " ".join(literal(text[: 8 * width]).split())
    return line if len(line) <= width else line[: width - 1].rstrip() + "…"


def _visible(character: str) -> str:
    if character in PICTURES:
        return PICTURES[character]
    hidden = unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp") and character not in JOINERS
    return f"<{ord(character):04X}>" if hidden else character
