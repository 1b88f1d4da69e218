"""The table behind the rule of convolutions."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import convolutions


def test_each_product_has_a_row_in_each_memory_format(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(convolutions, "LAYERS", [convolutions.Layer(2, 3, 1, 4)])
    monkeypatch.setattr(sys, "argv", ["convolutions.py", "--rounds", "1", "--precision", "fp32"])
    convolutions.main()
    rows = [[cell.strip() for cell in line.split("|")] for line in capsys.readouterr().out.splitlines()]
    assert [row[1:7] for row in rows[2:4]] == [
        ["2→3, 4x4 / 2", "1x4x4", "4", "96", "contiguous", kind] for kind in ("forward", "input")
    ]
    assert len(rows) == 2 + 2 * 3
    assert all(len(row) == len(rows[0]) for row in rows)
