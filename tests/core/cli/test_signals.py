"""Real signals to real processes: what was promised of Ctrl-C and ``kill``."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

pytestmark = [
    pytest.mark.usefixtures("fake"),
    pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="POSIX signals"),
]
# A shell's background job is deaf to SIGINT, and whatever runs these tests may be one.
HEARING = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)}
RUN = ("run", "--plugin", "fake", "--out", "it")


def until(process: subprocess.Popen[str], text: str) -> str:
    """Read stderr up to the line that holds a text."""
    assert process.stderr is not None
    seen = ""
    for line in process.stderr:
        seen += line
        if text in line:
            return seen
    raise AssertionError(f"{text!r} is not in: {seen}")


@pytest.mark.parametrize(("number", "workers"), [(signal.SIGINT, 2), (signal.SIGTERM, 0)])
def test_the_first_signal_saves_and_the_run_resumes(cli: Any, number: int, workers: int) -> None:
    call = (*RUN, "--steps", "400", "--set", "pause=0.05", "--set", f"workers={workers}", "--json")
    process = cli.start(*call, start_new_session=True, **HEARING)
    until(process, "step 1/400")
    if workers:
        # As a terminal does it: Ctrl-C reaches the loader's workers too, and one voice answers.
        os.killpg(process.pid, number)
    else:
        process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert err.count("finishing this step, then saving (again to leave at once)") == 1
    assert "next: mmgan resume it\n" in err
    assert "Traceback" not in err

    document = json.loads(out)
    assert (document["state"], document["exit_code"]) == ("interrupted", 128 + number)
    step = document["step"]
    assert 1 <= step < 400
    assert document["checkpoint"] == f"it/checkpoints/step-{step:06d}"
    status = json.loads(Path("it/status.json").read_text())
    assert (status["state"], status["step"], status["exit_code"]) == ("interrupted", step, 128 + number)

    assert json.loads(cli("resume", "it", "--steps", step + 2, "--json").out)["step"] == step + 2


def test_the_second_signal_leaves_at_once(cli: Any) -> None:
    """On a terminal, where a bar is drawn and hides the cursor."""
    terminal, end = pty.openpty()
    call = (*RUN, "--set", "fault=hang", "--set", "checkpoint_every=1")
    process = cli.start(*call, stdout=subprocess.DEVNULL, stderr=end, **HEARING)
    os.close(end)
    seen = b""

    def wait_for(text: bytes) -> None:
        nonlocal seen
        while text not in seen:
            seen += os.read(terminal, 1000)

    wait_for(b"hanging")
    process.send_signal(signal.SIGINT)
    wait_for(b"again to leave at once")
    # It took the bar's place, and the bar comes back below it. Written over the bar, it would be drawn over.
    assert b"\x1b[2K\x1b[1A\x1b[2Kfinishing" in seen
    start = time.monotonic()
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=30) == 143
    assert time.monotonic() - start < 10
    wait_for(b"\x1b[?25h")
    os.close(terminal)
    # The checkpoints from before are whole, and the lock went with the process.
    assert "at step 2," in cli("sample", "it").err


def test_ctrl_c_before_training_leaves_nothing(cli: Any) -> None:
    process = cli.start("run", "--plugin", "fake", "--set", "fault=slow-data", **HEARING)
    until(process, "opening data")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert out == ""
    assert err.strip() == "error: Interrupted."
    assert not Path("runs").exists()
