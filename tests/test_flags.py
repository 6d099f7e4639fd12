"""Values of flags: what is no such number is refused by the flag's name, before anything is opened."""

from __future__ import annotations

import argparse
from collections.abc import Callable

import pytest

from convert import cli as convert_cli
from score_local import cli
from score_local.flags import natural, positive, probability

Main = Callable[[list[str]], int]


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (natural, ["0", "7"], ["-1", "1.5", "", "²", "seven"]),
        (positive, ["1", "28"], ["0", "-2", "1e3", ""]),
        (probability, ["0", "0.5", "1"], ["-0.1", "1.1", "nan", "inf", "half", ""]),
    ],
)
def test_what_a_flag_takes(kind: Callable[[str], float], good: list[str], bad: list[str]) -> None:
    assert [kind(text) for text in good] == [float(text) for text in good]
    for text in bad:
        with pytest.raises(argparse.ArgumentTypeError, match="is not a"):
            kind(text)


@pytest.mark.parametrize(
    ("main", "command"),
    [
        (cli.main, "solve q --seed -1"),
        (cli.main, "eval sums.jsonl --out e --seed -3"),
        (cli.main, "train verifier data --base b --seed 1.5"),
        (cli.main, "collect q.jsonl --out c --samples 0"),
        (cli.main, "collect q.jsonl --out c --max-tokens -1"),
        (convert_cli.main, "bench --layers 0"),
        (convert_cli.main, "imatrix f.gguf t.txt --chunks -1"),
        (convert_cli.main, "quantize f.gguf --to q8_0 --threads 0"),
    ],
)
def test_a_bad_number_is_refused_by_the_name_of_its_flag(
    main: Main, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    *_, flag, value = command.split()
    with pytest.raises(SystemExit) as stopped:
        main(command.split())
    assert stopped.value.code == 2
    assert f"argument {flag}: '{value}' is not a whole number" in capsys.readouterr().err
