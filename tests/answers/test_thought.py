"""Think blocks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from score_local.answers import split_thought

ROWS = [
    ("Answer", "", "Answer", "no block"),
    ("<think>\nhm\n</think>\n\nAnswer", "hm", "\n\nAnswer", "a block"),
    ("<think></think>Answer", "", "Answer", "an empty block"),
    ("<think>hm", "hm", "", "not closed: all of it is thought"),
    ("Answer<think>hm", "hm", "Answer", "not closed, behind an answer"),
    ("hm</think>Answer", "hm", "Answer", "opened by the chat template"),
    ("<think>a</think>1<think>b</think>2", "a\nb", "12", "two blocks"),
    ("<think>a<think>b</think>Answer", "a\nb", "Answer", "opened twice"),
    ("<think>a</think>1</think>2", "a", "12", "closed twice"),
    ("<THINK>a</THINK>1", "a", "1", "capitals"),
]


@pytest.mark.parametrize(("text", "thought", "rest", "reason"), ROWS)
def test_split(text: str, thought: str, rest: str, reason: str) -> None:
    assert split_thought(text) == (thought, rest), reason


@given(st.lists(st.sampled_from(["<think>", "</think>", "a", " "])).map("".join))
def test_the_rest_holds_no_tag_and_splits_into_itself(text: str) -> None:
    _, rest = split_thought(text)
    assert split_thought(rest) == ("", rest)
