"""Stdin, stdout and stderr that are closed, full, gone, or of another encoding than what is said."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from releases import NEWEST_CLICK

from mmgan.cli import streams
from mmgan.cli.output import emit, emit_paths, say
from mmgan.errors import MmganError

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="a POSIX shell")
#: As click words it.
UNKNOWN = b"error: No such option '--stepz'." if NEWEST_CLICK else b"error: No such option: --stepz"
TRAIN = "run --plugin fake --out it"


def shell(command: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """Let a shell call mmgan, as ``$MMGAN``."""
    variables = {**os.environ, "MMGAN": f"{sys.executable} -m mmgan", **environment}
    return subprocess.run(["sh", "-c", command], env=variables, capture_output=True)


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.usefixtures("fake")
@pytest.mark.parametrize("redirection", ["2>&-", "<&- >&- 2>&-", "2>/dev/full"])
def test_a_run_needs_nobody_to_talk_to(redirection: str) -> None:
    done = shell(f"$MMGAN {TRAIN} {redirection}")
    assert done.returncode == 0
    assert done.stdout == (b"" if ">&- " in redirection else b"it\n")
    # What is opened first must not take the number of a stream that was closed, or it is written into.
    assert Path("it/checkpoints/step-000012/manifest.json").exists()


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.usefixtures("fake")
def test_data_that_stdout_refuses_is_an_error_after_all_is_saved() -> None:
    done = shell(f"$MMGAN {TRAIN} >/dev/full")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == b"error: stdout can't be written: No space left on device."
    assert Path("it/checkpoints/step-000012/manifest.json").exists()


@pytest.mark.process
@pytest.mark.parametrize(
    ("call", "code", "err"),
    [
        ("--version >&-", 0, b""),
        ("plugins --json >&-", 0, b""),
        ("run --json --stepz 5 >&-", 2, b""),
        ("run --json --stepz 5 >/dev/full", 2, UNKNOWN),
    ],
)
def test_streams_that_take_nothing(call: str, code: int, err: bytes) -> None:
    done = shell(f"$MMGAN {call}")
    assert done.returncode == code
    assert done.stderr.startswith(err) if err else not done.stderr


def test_no_one_hears_of_a_terminal_that_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(5, "Input/output error")

        def flush(self) -> None:
            raise OSError(5, "Input/output error")

    monkeypatch.setattr("sys.stderr", gone := Gone())
    with streams.sound():
        say("nothing")
        print("nothing", file=sys.stderr, flush=True)
        sys.stderr.writelines(["nothing"])
    assert sys.stderr is gone


def test_names_are_given_as_the_system_has_them(monkeypatch: pytest.MonkeyPatch) -> None:
    ascii_only = io.TextIOWrapper(data := io.BytesIO(), encoding="ascii")
    monkeypatch.setattr("sys.stdout", ascii_only)
    emit_paths([Path("f\udcf6lder"), Path("ü")])
    emit("f\udcf6lder")
    assert data.getvalue() == os.fsencode("f\udcf6lder\nü\nf\udcf6lder\n")
    with pytest.raises(MmganError, match="stdout is written in ascii, which has no 'ü'"):
        emit("ü")
