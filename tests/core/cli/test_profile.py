"""``mmgan run --profile`` and ``mmgan resume --profile``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest


@pytest.mark.usefixtures("fake")
def test_run_and_resume(cli: Any) -> None:
    plain = cli("run", "--plugin", "fake", "--out", "plain")
    assert plain.code == 0
    assert not Path("plain/profile").exists()

    result = cli("run", "--plugin", "fake", "--out", "it", "--profile")
    assert (result.code, result.out) == (0, "it\n")
    assert "profile of steps 8 to 12: it/profile\n" in result.err
    assert sorted(path.name for path in Path("it/profile").iterdir()) == ["summary.txt", "trace.json"]
    assert "profile" not in Path("it/config.toml").read_text()

    result = cli("resume", "it", "--steps", "14", "--profile")
    assert result.code == 0
    assert "profile of steps 13 to 14: it/profile\n" in result.err
    assert Path("it/profile/summary.txt").read_text().startswith("steps 13 to 14\n")
