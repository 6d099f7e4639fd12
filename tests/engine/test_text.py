"""Text from bytes: whole characters, and no half of a stop string."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from score_local.engine.text import TextStream


def cut(raw: bytes, sizes: list[int]) -> list[bytes]:
    pieces, at = [], 0
    for size in sizes:
        pieces.append(raw[at : at + size])
        at += size
    return [*pieces, raw[at:]]


@given(st.text(), st.lists(st.integers(0, 4), max_size=40))
def test_pieces_join_to_the_text(text: str, sizes: list[int]) -> None:
    stream = TextStream()
    shown = "".join(stream.feed(piece) for piece in cut(text.encode(), sizes)) + stream.finish()
    assert shown == stream.text == text


@given(
    st.text("abX\n", max_size=60), st.lists(st.integers(0, 4), max_size=40), st.sampled_from(["ab", "X\n", "aXa", "b"])
)
def test_nothing_of_a_stop_string_is_ever_shown(text: str, sizes: list[int], stop: str) -> None:
    stream, shown = TextStream((stop,)), ""
    for piece in cut(text.encode(), sizes):
        shown += stream.feed(piece)
        if stream.stopped:
            break
    shown += stream.finish()
    assert shown == stream.text == text.partition(stop)[0]
    assert stream.stopped == (stop in text)


@pytest.mark.parametrize(
    ("raw", "text", "why"),
    [
        (b"\xe2\x82", "�", "a character that never became whole"),
        (b"a\xffb", "a�b", "a byte that is none"),
        ("é".encode(), "é", "two bytes"),
    ],
)
def test_broken_bytes(raw: bytes, text: str, why: str) -> None:
    stream = TextStream()
    assert "".join(stream.feed(raw[i : i + 1]) for i in range(len(raw))) + stream.finish() == text, why
