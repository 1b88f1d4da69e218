"""``mmgan sample`` of many: chunk by chunk into files, in bounded memory, whole files whatever happens."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import soundfile
from PIL import Image

from mmgan.samples import audio, images
from mmgan.tasks.audio import AudioTask
from mmgan.tasks.image import ImageTask

#: Sample few, then many, and print by how many bytes the most memory grew meanwhile.
GROWTH = """
import resource, sys
from mmgan.cli import main

def most():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)

run, n = sys.argv[1:]
assert main(["sample", run, "-n", "64", "--out", "few"]) == 0
before = most()
assert main(["sample", run, "-n", n, "--out", "many"]) == 0
print(most() - before)
"""


def test_files_are_written_and_listed_chunk_by_chunk(
    bulk: Any, cli: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = bulk("picture", size=8)
    whole = cli("sample", run, "-n", "10", "--out", "whole")
    monkeypatch.setattr(ImageTask, "chunk", 4)
    parts = cli("sample", run, "-n", "10", "--out", "parts")
    expected = [f"parts/{number:04d}.png" for number in range(10)] + ["parts/samples.png"]
    assert parts.out.splitlines() == expected
    assert whole.out.replace("whole", "parts") == parts.out
    assert parts.err == "10 samples of picture at step 1, in parts\n"
    for path in Path("whole").iterdir():
        assert path.read_bytes() == Path("parts", path.name).read_bytes()


def test_of_many_pictures_the_first_are_shown_together(
    bulk: Any, cli: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = bulk("picture", size=8)
    monkeypatch.setattr(ImageTask, "chunk", 4)
    monkeypatch.setattr(images, "MOST_PICTURES", 9)
    result = cli("sample", run, "-n", "11", "--out", "many")
    assert result.err == "samples.png shows the first 9\n11 samples of picture at step 1, in many\n"
    assert len(list(Path("many").iterdir())) == 12
    with Image.open("many/samples.png") as grid:
        assert grid.size == (3 * 8 + 2 * 2, 3 * 8 + 2 * 2)
        with Image.open("many/0008.png") as last:
            assert grid.crop((20, 20, 28, 28)).tobytes() == last.tobytes()


@pytest.mark.slow
def test_of_many_sounds_the_first_are_heard_and_seen_together(
    bulk: Any, cli: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = bulk("sound", length=1_000)
    monkeypatch.setattr(AudioTask, "chunk", 2)
    monkeypatch.setattr(audio, "MOST_SOUNDS", 3)
    result = cli("sample", run, "-n", "5", "--out", "many")
    names = [Path(line).name for line in result.out.splitlines()]
    assert names == [*(f"{number:04d}.wav" for number in range(5)), "samples.wav", "samples.png"]
    assert "samples.wav shows the first 3\n" in result.err
    assert soundfile.info("many/samples.wav").frames == 3 * 1_000 + 2 * 4_000


def test_one_sample_is_not_called_samples(cli: Any, trained: Path) -> None:
    assert cli("sample", trained, "-n", "1").err == "1 sample of fake at step 12, in trained/generated/001\n"
    walk = cli("sample", trained, "-n", "1", "--interpolate")
    assert walk.err == "1 sample of fake at step 12, in trained/generated/002\n"


@pytest.mark.skipif(os.name != "posix", reason="modes of POSIX")
def test_files_have_the_permissions_that_the_umask_leaves(cli: Any, trained: Path) -> None:
    for mask in (0o022, 0o077):
        before = os.umask(mask)
        try:
            listed = cli("sample", trained, "-n", "2").out.splitlines()
            listed += cli("sample", trained, "-n", "2", "--interpolate").out.splitlines()
        finally:
            os.umask(before)
        assert {Path(line).stat().st_mode & 0o777 for line in listed} == {0o666 & ~mask}


@pytest.mark.usefixtures("trained")
def test_what_can_t_be_written_leaves_no_empty_folders(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device", "somewhere")

    Path("here").mkdir()
    monkeypatch.setattr(Image.Image, "save", full)
    for out in (["--out", "new/one/deep"], ["--out", "here"], ["--out", "here/one"], []):
        result = cli("sample", "trained", "-n", "2", *out)
        assert (result.code, result.out) == (1, "")
        assert "No space left on device" in result.err
    assert not Path("new").exists()
    assert Path("here").is_dir(), "what was there already stays"
    assert not list(Path("here").iterdir())
    assert not Path("trained/generated").exists()


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="POSIX signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_whole_files_only(bulk: Any, cli: Any, number: signal.Signals) -> None:
    run = bulk("picture", size=32)
    process: subprocess.Popen[str] = cli.start(
        "sample", run, "-n", 20_000, "--out", "many",
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    folder, start = Path("many"), time.monotonic()
    while not folder.is_dir() or len(os.listdir(folder)) < 300:
        assert process.poll() is None
        assert time.monotonic() - start < 100
        time.sleep(0.01)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    # A shell calls a death by SIGTERM 143 too.
    assert process.returncode in (128 + number, *([-number] if number == signal.SIGTERM else []))
    assert "Traceback" not in err
    names = sorted(path.name for path in folder.glob("[0-9]*.png"))
    assert names == [f"{place:05d}.png" for place in range(len(names))]
    for path in folder.glob("[0-9]*.png"):
        with Image.open(path) as picture:
            picture.load()
    assert out.splitlines()[:2] == ["many/00000.png", "many/00001.png"]
    if process.returncode > 0:
        assert not list(folder.glob(".*"))


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="no getrusage")
@pytest.mark.parametrize(("plugin", "suffix"), [("picture", "png"), ("sound", "wav")])
def test_memory_does_not_grow_with_the_number_of_samples(bulk: Any, plugin: str, suffix: str) -> None:
    """3,000 pictures of 128x128, or sounds of 16,384 samples, are 200 MB, and would be there in copies."""
    run = bulk(plugin)
    command = [sys.executable, "-c", GROWTH, str(run), "3000"]
    result = subprocess.run(command, check=True, capture_output=True, text=True)
    assert len(list(Path("many").glob(f"*.{suffix}"))) == 3_001
    assert int(result.stdout.splitlines()[-1]) < 120e6
