"""Lines and signs for terminals that know only ASCII: whatever the app draws, each sign in as many cells."""

from __future__ import annotations

from rich.segment import Segment
from textual.color import Color
from textual.filter import LineFilter

SIGNS = {
    **dict.fromkeys("─━═╌╍┄┅┈┉╴╶╸╺▔▁▂▃▀▄▅▆🬂🬭", "-"),
    **dict.fromkeys("│┃║╎╏┆┇┊┋╵╷╹╻▏▎▍▌▋▊▉▐▕", "|"),
    **dict.fromkeys("█▇■●▓", "#"),
    **dict.fromkeys("░▒", "."),
    **dict.fromkeys("▶▸→❯›⭘", ">"),
    **dict.fromkeys("▼▾↓", "v"),
    **dict.fromkeys("▲▴↑", "^"),
    **dict.fromkeys("◀◂←‹", "<"),
    **dict.fromkeys("✗✕×", "x"),
    **dict.fromkeys("✓✔", "+"),
    **dict.fromkeys("•∙·○", "*"),
    **dict.fromkeys("⏎↵", "^"),
    **dict.fromkeys("…", "."),
    **dict.fromkeys("⟦", "["),
    **dict.fromkeys("⟧", "]"),
    **dict.fromkeys("÷", "/"),
    "🔎": "? ",  # two cells wide
}
TABLE = str.maketrans({chr(code): "+" for code in range(0x2500, 0x25A0)} | SIGNS)


class AsciiFilter(LineFilter):
    """The last step before a line reaches the terminal."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        return [
            segment if segment.control else segment._replace(text=segment.text.translate(TABLE)) for segment in segments
        ]
