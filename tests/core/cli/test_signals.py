"""Real signals to real processes: what was promised of Ctrl-C, ``kill``, and a terminal that is closed."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import signal
import subprocess
import termios
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


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.parametrize(("number", "workers"), [(signal.SIGINT, 2), (signal.SIGTERM, 0), (signal.SIGHUP, 2)])
def test_the_first_signal_saves_and_the_run_resumes(cli: Any, number: int, workers: int) -> None:
    call = (*RUN, "--steps", "400", "--set", "pause=0.05", "--set", f"workers={workers}", "--json")
    process = cli.start(*call, start_new_session=True, **HEARING)
    until(process, "step 1/400")
    if workers:
        # As a terminal does it: Ctrl-C reaches the loader's workers too, and one voice answers.
        os.killpg(process.pid, number)
    else:
        process.send_signal(number)
    seen = until(process, "finishing this step")
    if number == signal.SIGHUP:
        # A shell tells its jobs of a closed terminal, and so does the system: that is no impatience.
        process.send_signal(number)
    out, err = process.communicate(timeout=60)
    err = seen + err
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


@pytest.mark.process
@pytest.mark.slow
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


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.parametrize("first", [signal.SIGTERM, signal.SIGINT])
def test_under_torchrun_sigterm_may_come_twice(cli: Any, monkeypatch: pytest.MonkeyPatch, first: int) -> None:
    """A scheduler sends it to torchrun and to its processes, and torchrun passes it on. After Ctrl-C it is
    what torchrun makes of another Ctrl-C, which is meant.
    """
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "1")
    process = cli.start(*RUN, "--set", "pause=1", **HEARING)
    until(process, "step 1/")
    process.send_signal(first)
    until(process, "finishing this step")
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 143, err
    state = json.loads(Path("it/status.json").read_text())["state"]
    assert state == ("interrupted" if first == signal.SIGTERM else "running")


@pytest.mark.process
@pytest.mark.slow
def test_a_run_is_saved_when_its_terminal_is_gone(cli: Any) -> None:
    """As when an SSH session is closed: there is nobody to be told, and nowhere to write to."""
    terminal, end = pty.openpty()

    def own_terminal() -> None:
        os.setsid()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    call = (*RUN, "--steps", "1000", "--set", "pause=0.05")
    process = cli.start(*call, stdin=end, stdout=end, stderr=end, preexec_fn=own_terminal)
    os.close(end)
    while not Path("it/metrics.jsonl").exists():
        os.read(terminal, 1000)
    os.close(terminal)
    assert process.wait(timeout=60) == 129
    status = json.loads(Path("it/status.json").read_text())
    assert (status["state"], status["exit_code"]) == ("interrupted", 129)
    assert Path(f"it/checkpoints/step-{status['step']:06d}/manifest.json").exists()


@pytest.mark.process
@pytest.mark.slow
def test_nohup_is_heard(cli: Any) -> None:
    deaf = {"preexec_fn": lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)}
    process = cli.start(*RUN, "--set", "pause=0.05", **deaf)
    until(process, "step 1/12")
    process.send_signal(signal.SIGHUP)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (0, "it\n")
    assert "finished at step 12 of 12" in err


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "message"),
    [
        (signal.SIGINT, "Interrupted."),
        (signal.SIGTERM, "Stopped by SIGTERM."),
        (signal.SIGHUP, "Stopped by SIGHUP."),
    ],
)
def test_a_signal_before_training_leaves_nothing(cli: Any, number: int, message: str) -> None:
    place = ["--out", "it"] if number == signal.SIGTERM else []
    process = cli.start("run", "--plugin", "fake", "--set", "fault=slow-data", *place, **HEARING)
    until(process, "opening data")
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert out == ""
    assert err.strip() == f"error: {message}"
    assert not Path("runs").exists()
    assert not Path("it").exists()


@pytest.mark.process
def test_ctrl_c_while_modules_are_imported_is_one_line(cli: Any, install: Any) -> None:
    install(
        "slowplugin", "import sys, time\nprint('importing', file=sys.stderr, flush=True)\ntime.sleep(60)\n"
    )
    process = cli.start("run", "--plugin", "fake", **HEARING)
    until(process, "importing")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err.strip()) == (130, "", "error: Interrupted.")


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.parametrize("then", ["pass", "raise ValueError('torn')"])
def test_a_library_that_swallows_a_signal_while_it_is_imported(cli: Any, install: Any, then: str) -> None:
    source = (
        "import sys, time\ntry:\n    print('importing', file=sys.stderr, flush=True)\n    time.sleep(60)\n"
        f"except BaseException:\n    {then}\nfrom fakeplugin import register_tasks\n"
    )
    install("slowplugin", source.replace("register_tasks", "task"))
    process = cli.start(*RUN, **HEARING)
    until(process, "importing")
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err.strip()) == (143, "", "error: Stopped by SIGTERM.")
    assert not Path("it").exists()
