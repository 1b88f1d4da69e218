"""``benchmarks/scaling.py`` from end to end at a tiny size."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import scaling
from scaling import Arrangement, table


@pytest.mark.process
@pytest.mark.slow
def test_all_arrangements_play_in_turns(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(scaling, "SECONDS", 0)
    scaling.main(["--width=2", "--batch-size=2", "--rounds=2"])
    output = capsys.readouterr()
    assert "round 2 of 2 of 1 steps: one process " in output.err
    rows = [line for line in output.out.splitlines() if line.startswith("| ")]
    assert [row.split(" | ")[0] for row in rows[1:]] == [
        "| one process",
        "| two processes",
        "| two agents with one each",
    ]
    assert all(float(re.split(r" \| | \|", row)[3]) > 0 for row in rows[1:])


def test_what_the_table_says() -> None:
    case = scaling.Case("x", "what", "dcgan", {"batch_size": 10})
    found = {Arrangement("one"): [0.1, 0.2, 0.1], Arrangement("two", processes=2): [0.1, 0.1, 0.16]}
    one, two = table(found, case).splitlines()[-2:]
    assert one == "| one | 100 (100 to 150) | 100 | 1.00 |"
    assert two == "| two | 100 (100 to 130) | 200 | 2.00 |"


def test_buckets_are_compared_in_two_processes() -> None:
    names = [(each.name, each.world, each.bucket) for each in scaling.arranged([0, 1])]
    assert names[1:] == [("two processes, no overlap", 2, 0), ("two processes, buckets of 1 MiB", 2, 1)]
