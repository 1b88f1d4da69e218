"""Command lines at random, the same ones each time: none ends in an internal bug, a traceback or silence.

``benchmarks/fuzz_cli.py`` calls thousands.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

FUZZ = Path(__file__).resolve().parents[3] / "benchmarks" / "fuzz_cli.py"


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="each line is called in a process that is forked")
def test_no_line_ends_as_none_should() -> None:
    command = [sys.executable, str(FUZZ), "--seed", "5", "--lines", "12", "--patience", "200"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "seed 5: 12 lines" in done.stdout
