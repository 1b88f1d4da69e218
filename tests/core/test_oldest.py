"""The oldest releases that pyproject allows are those that `make test-oldest` tries."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from itertools import chain
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_lower_bounds_are_what_is_tried() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    # Of what only developers need the newest releases are tried.
    tools = parsed(extras.pop("dev"), ">=")
    bounds = parsed(chain(project["dependencies"], *extras.values()), ">=")
    lines = (ROOT / "constraints" / "oldest.txt").read_text(encoding="utf-8").splitlines()
    pins = parsed(lines, "==")
    assert {name: pins.get(name) for name in bounds} == bounds
    assert all(bounds.get(name, bound) == bound for name, bound in tools.items())


def parsed(lines: Iterable[str], operator: str) -> dict[str, str]:
    return dict(line.split(operator) for line in lines if operator in line)
