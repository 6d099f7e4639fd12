"""Growing Markdown in blocks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui.blocks import LONGEST, Blocks

PIECES = st.lists(st.sampled_from(["word ", "\n", "\n\n", "```python\n", "```", "x = 1\n", "    ", "~~~"]), max_size=60)


def fed(pieces: list[str]) -> Blocks:
    blocks = Blocks()
    for piece in pieces:
        blocks.feed(piece)
    return blocks


def test_a_blank_line_and_the_end_of_a_fence_end_a_block() -> None:
    blocks = fed(["one\ntwo\n", "\n", "three\n```py\nx = 1\n\ny = 2\n```\nfour"])
    assert blocks.finished == ["one\ntwo\n\n", "three\n```py\nx = 1\n\ny = 2\n```\n"]
    assert blocks.tail == "four"


@given(PIECES)
def test_nothing_is_lost_of_short_texts_and_pieces_do_not_matter(pieces: list[str]) -> None:
    text = "".join(pieces)
    at_once, letters = fed([text]), fed(list(text))
    assert (at_once.finished, at_once.tail) == (letters.finished, letters.tail)
    if len(text) < LONGEST:
        kept = "".join([*at_once.finished, at_once.tail])
        assert kept.split() == text.split()


@given(st.integers(1, 7))
def test_what_is_rendered_again_has_a_bound(size: int) -> None:
    for text in ("word " * 3000, "x" * 9000, "```python\n" + "x = 1\n" * 2000):
        blocks = Blocks()
        for start in range(0, len(text), size * 100):
            blocks.feed(text[start : start + size * 100])
            assert len(blocks.tail) <= LONGEST + 20


LONG_FENCES = [
    "```" + "a" * 1100 + "\n" + "x = 1\n" * 300 + "```\n",
    "`" * 1200 + "\n" + "x = 1\n" * 300,
    "``` " + "a" * 1100 + "\nx\n",
    "`" * 80 + " " + "a" * 2000 + "\nx\n",
]


@pytest.mark.parametrize("text", LONG_FENCES, ids=range(len(LONG_FENCES)))
def test_a_fence_as_long_as_a_block_ends(text: str) -> None:
    blocks, rounds = Blocks(), 0
    cut = blocks._cut

    def counted() -> bool:
        nonlocal rounds
        rounds += 1
        assert rounds < 100, "it goes on for ever"
        return cut()

    blocks._cut = counted  # type: ignore[method-assign]
    blocks.feed(text)
    kept = "".join([*blocks.finished, blocks.tail])
    assert kept.count("a") == text.count("a") and kept.count("x") == text.count("x"), "nothing is lost"


def test_a_long_text_before_a_fence_is_not_shown_as_code() -> None:
    blocks = fed(["word " * 230 + "\n```py\n" + "x = 1\n" * 200])
    assert "```" not in blocks.finished[0], "it was cut before the fence"
    assert "".join([*blocks.finished, blocks.tail]).count("x = 1\n") == 200


def test_code_goes_on_in_a_fence_of_its_own() -> None:
    blocks = fed(["```python\n" + "x = 1\n" * 400])
    assert len(blocks.finished) > 1
    assert all(block.startswith("```python\n") and block.endswith("\n```\n") for block in blocks.finished)
    assert blocks.tail.startswith("```python\n")
