"""Draws the README's picture of the app: a problem that is solved, doubted and repaired. The replies are scripted.

python -m tests.tui.screenshot tui/screenshot.svg
"""

from __future__ import annotations

import re
import sys
import tempfile
from pathlib import Path

from tests.tui.chat import PROBLEM, Chat, chat, eggs

SIZE = (100, 33)
RATE = 60.0
FONT = re.compile(r"\s*@font-face \{.*?\}", re.DOTALL)  # of another server: the reader's own will do
POLICY = '[verify]\nverifiers = ["self", "arithmetic", "consistency"]\nsamples = 2\n'


def main(target: Path) -> None:
    async def act(app: Chat) -> None:
        await app.ask(PROBLEM)
        await app.pilot.pause(0.5)
        picture = app.app.export_screenshot(title="score-local", simplify=True)
        target.write_text(FONT.sub("", picture), encoding="utf-8")

    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "scripted-demo.gguf"
        model.write_bytes(b"GGUF")
        chat(Path(folder), act, eggs, size=SIZE, rate=RATE, policy_text=POLICY, model=str(model))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
