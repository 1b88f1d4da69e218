"""Commands that run outside of the environment of the tests."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
#: Pip for another Python, whose path follows: pip need not be installed there.
PIP = (sys.executable, "-m", "pip", "--python")
#: What of the environment says how mmgan and Python are to behave here.
_OURS = ("PYTHON", "MMGAN_", "VIRTUAL_ENV")


def run(*command: object, cwd: Path = ROOT, **environment: str) -> str:
    """Run a command without the settings of whoever runs the tests, and return its stdout."""
    others = {key: value for key, value in os.environ.items() if not key.startswith(_OURS)}
    words = list(map(str, command))
    done = subprocess.run(words, capture_output=True, text=True, cwd=cwd, env=others | environment)
    assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
    return done.stdout
