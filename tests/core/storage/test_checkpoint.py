"""Checkpoints: what is stored, what is refused, and what a crash can't do."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from toys import reload, toy_run

from mmgan import CheckpointError, ConfigError, MmganError
from mmgan.storage import checkpoint, records
from mmgan.storage.folder import find_checkpoint

STATE = {
    "step": 12,
    "text": "é\n",
    "none": None,
    "flag": True,
    "floats": [0.1, 1e-300, float("inf"), 2.0**-1074],
    "tensor": torch.arange(6, dtype=torch.int64).reshape(2, 3),
    "nested": {"list": [torch.ones(1, dtype=torch.bfloat16), {"deep": torch.zeros(())}]},
    "optimizer": {0: {"step": torch.tensor(3.0)}, 1: {"step": torch.tensor(4.0)}},
    "pair": (1, 2),
}


def write(folder: Path, step: int = 12, value: float = 1.0) -> Path:
    weights = {"G": {"w": torch.full((3, 2), value)}, "G.average": {"w": torch.zeros(3, 2)}}
    return checkpoint.save(folder, step, weights, STATE)


def test_everything_comes_back_as_it_was(tmp_path: Path) -> None:
    path = write(tmp_path)
    assert path.name == "step-000012"
    weights, state = checkpoint.load(path)
    assert torch.equal(weights["G"]["w"], torch.ones(3, 2))
    assert set(weights) == {"G", "G.average"}
    assert state["floats"] == STATE["floats"]
    assert (state["text"], state["none"], state["flag"], state["pair"]) == ("é\n", None, True, [1, 2])
    assert torch.equal(state["tensor"], STATE["tensor"])
    assert state["nested"]["list"][0].dtype == torch.bfloat16
    assert set(state["optimizer"]) == {0, 1}
    assert float(state["optimizer"][1]["step"]) == 4


def test_there_is_no_pickle_and_other_programs_can_read_the_weights(tmp_path: Path) -> None:
    path = write(tmp_path)
    names = {file.name for file in path.iterdir()}
    assert names == {
        "G.safetensors",
        "G.average.safetensors",
        "state.safetensors",
        "state.json",
        "manifest.json",
    }
    assert torch.equal(load_file(path / "G.safetensors")["w"], torch.ones(3, 2))
    manifest = json.loads((path / "manifest.json").read_text())
    assert set(manifest["files"]) == names - {"manifest.json"}
    assert all(len(digest) == 64 for digest in manifest["files"].values())


def test_memory_formats_and_tied_weights_are_no_obstacle(tmp_path: Path) -> None:
    weight = torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last)
    path = checkpoint.save(tmp_path, 1, {"G": {"a": weight, "b": weight}}, {"view": weight[0]})
    weights, state = checkpoint.load(path)
    assert torch.equal(weights["G"]["b"], weight)
    assert torch.equal(state["view"], weight[0])


def test_what_can_t_be_stored_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="task/pool is a set"):
        checkpoint.save(tmp_path, 1, {}, {"task": {"pool": {1}}})
    assert list(tmp_path.iterdir()) == [], "nothing is left behind"


DAMAGE = {
    "one byte changed": lambda path: flip(path / "G.safetensors"),
    "torn": lambda path: os.truncate(path / "state.safetensors", 10),
    "state edited": lambda path: (path / "state.json").write_text("{}"),
    "a file gone": lambda path: (path / "state.json").unlink(),
    "no manifest": lambda path: (path / "manifest.json").unlink(),
    "an empty manifest": lambda path: (path / "manifest.json").write_text(""),
    "a manifest of something else": lambda path: (path / "manifest.json").write_text("[1]"),
}


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_checkpoint_is_refused_and_the_one_before_used(
    tmp_path: Path, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before, path = write(tmp_path, 5), write(tmp_path, 12)
    DAMAGE[damage](path)
    with pytest.raises(CheckpointError, match="step-000012") as caught:
        checkpoint.load(path)
    assert caught.value.exit_code == 5
    assert find_checkpoint(tmp_path) == before
    captured = capsys.readouterr()
    assert "step-000012" in captured.err
    assert "passed over" in captured.err
    with pytest.raises(CheckpointError):
        find_checkpoint(tmp_path, "12")


def test_a_state_that_could_not_be_read_again_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="beside its tensors"):
        checkpoint.save(tmp_path / "run", 1, {}, {"many": "x" * records.LARGE})
    assert not list((tmp_path / "run").iterdir())


def test_a_later_format_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path)
    manifest = json.loads((path / "manifest.json").read_text())
    (path / "manifest.json").write_text(json.dumps(manifest | {"format": 99}))
    with pytest.raises(CheckpointError, match="has format 99; this version of mmgan reads 1"):
        checkpoint.load(path)


def test_no_checkpoint_at_all(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="holds no checkpoint yet"):
        find_checkpoint(tmp_path / "checkpoints")
    write(tmp_path, 5)
    with pytest.raises(CheckpointError, match="There is no checkpoint '7'") as caught:
        find_checkpoint(tmp_path, "7")
    assert "last, best, 5" in caught.value.hint


def test_a_full_disk_leaves_the_ones_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, 5)

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(MmganError, match="No space left on device") as caught:
        write(tmp_path, 12)
    assert caught.value.exit_code == 1
    assert "room on the disk" in caught.value.hint
    assert [path.name for path in tmp_path.iterdir()] == ["step-000005"]


def test_writing_a_step_again_replaces_it(tmp_path: Path) -> None:
    write(tmp_path, 5)
    path = write(tmp_path, 5, value=2.0)
    assert float(checkpoint.load(path)[0]["G"]["w"][0, 0]) == 2
    assert checkpoint.steps(tmp_path) == [5]


WRITER = """
import os
import sys
import torch
from pathlib import Path
from mmgan.storage import checkpoint
folder, start = Path(sys.argv[1]), int(sys.argv[2])
torch.set_num_threads(1)
weights = {"G": {"w": torch.zeros(300_000)}}
os.write(1, b"ready\\n")
for step in range(start, start + 10_000):
    weights["G"]["w"].fill_(step)
    checkpoint.save(folder, step, weights, {"step": step, "more": torch.full((1000,), float(step))})
    for old in checkpoint.steps(folder)[:-2]:
        import shutil
        shutil.rmtree(checkpoint.path_of(folder, old))
"""


@pytest.mark.process
@pytest.mark.slow
def test_25_kills_during_saves_leave_a_whole_checkpoint_each_time(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    # One process forks a writer for each kill, which spares importing torch 25 times.
    dice = random.Random(0)
    code = f"""
import os, sys
import torch, mmgan.storage.checkpoint
writer = compile({WRITER!r}, "writer", "exec")
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        sys.argv[1:] = line.split()
        exec(writer, {{}})
        os._exit(0)
    os.write(1, f"{{child}}\\n".encode())
    os.waitpid(child, 0)
    os.write(1, b"dead\\n")
"""
    parent = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    )
    assert parent.stdin is not None
    assert parent.stdout is not None
    last, torn = 0, 0
    for _ in range(25):
        parent.stdin.write(f"{folder} {last + 1}\n")
        child, ready = parent.stdout.readline(), parent.stdout.readline()
        if ready.strip() != "ready":
            child, ready = ready, child
        # A busy machine takes longer to come to its first one.
        while max(checkpoint.steps(folder), default=0) <= last:
            time.sleep(0.001)
        time.sleep(dice.uniform(0, 0.05))
        os.kill(int(child), signal.SIGKILL)
        assert parent.stdout.readline().strip() == "dead"
        torn += bool(list(folder.glob(".partial-*")))
        path = find_checkpoint(folder)
        weights, state = checkpoint.load(path)
        assert state["step"] >= last
        assert float(weights["G"]["w"][0]) == state["step"] == float(state["more"][0])
        last = state["step"]
    parent.stdin.close()
    parent.wait(timeout=30)
    parent.stdout.close()
    assert last >= 25
    assert torn > 5, "the kills should have come during saves"


def test_a_run_s_folder_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="is not a run's folder: it has no config.toml"):
        reload(tmp_path)


def test_a_checkpoint_of_other_settings_does_not_fit(tmp_path: Path) -> None:
    run = toy_run(folder=tmp_path / "run")
    run.save()
    text = (tmp_path / "run" / "config.toml").read_text()
    (tmp_path / "run" / "config.toml").write_text(text.replace('"toy"', '"toy-wgan"'))
    with pytest.raises(ConfigError, match="plugin can't change from 'toy' to 'toy-wgan'"):
        reload(tmp_path / "run")


def test_names_that_would_overwrite_each_other_do_not(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="A player can't be called 'state'"):
        checkpoint.save(tmp_path, 1, {"state": {"w": torch.zeros(1)}}, {})
    with pytest.raises(CheckpointError, match=r"pool has the key \(1, 2\)"):
        checkpoint.save(tmp_path, 1, {}, {"pool": {(1, 2): 3}})
    path = checkpoint.save(tmp_path, 1, {}, {"a": {"b": torch.zeros(1)}, "a/b": torch.ones(1)})
    state = checkpoint.load(path)[1]
    assert (float(state["a"]["b"]), float(state["a/b"])) == (0, 1)


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="there are no resource limits here")
def test_a_disk_that_is_full_in_the_middle_of_a_file(tmp_path: Path) -> None:
    code = f"""
import resource, signal
from pathlib import Path
import torch
from mmgan import MmganError
from mmgan.storage import checkpoint
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    checkpoint.save(Path({str(tmp_path)!r}), 1, {{"G": {{"w": torch.zeros(100_000)}}}}, {{}})
except MmganError as error:
    print(error.message, error.hint, error.exit_code)
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "Can't write the checkpoint" in result.stdout
    assert "room on the disk" in result.stdout
    assert result.stdout.endswith(" 1\n")
    assert list(tmp_path.iterdir()) == []
