"""A run's folder from a stranger can do nothing but fail: what its files hold is never taken on trust."""

from __future__ import annotations

import contextlib
import copy
import hashlib
import json
import os
import resource
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import nn
from toys import reload, toy_run

from mmgan import CheckpointError, MmganError, train
from mmgan.storage import checkpoint, fitting


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run that nobody changes."""
    folder = tmp_path_factory.mktemp("made") / "run"
    train(toy_run(folder=folder, steps=4, sample_every=0))
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """A copy of it to spoil."""
    shutil.copytree(made, tmp_path / "run")
    return tmp_path / "run"


def last(folder: Path) -> Path:
    return checkpoint.path_of(folder / "checkpoints", 4)


def sign(path: Path) -> None:
    """Make the manifest say what the files are, as whoever changes them would."""
    manifest = json.loads((path / "manifest.json").read_text())
    for name in manifest["files"]:
        manifest["files"][name] = hashlib.sha256((path / name).read_bytes()).hexdigest()
    (path / "manifest.json").write_text(json.dumps(manifest))


def edit_state(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change ``state.json``, and sign it."""
    path = last(folder) / "state.json"
    state = json.loads(path.read_text())
    change(state)
    path.write_text(json.dumps(state))
    sign(last(folder))


def edit_tensors(folder: Path, name: str, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    """Change the tensors of a file, and sign it."""
    path = last(folder) / f"{name}.safetensors"
    tensors = copy.deepcopy(load_file(path))
    change(tensors)
    save_file(tensors, path)
    sign(last(folder))


def spoil(value: float, key: str | None = None) -> Callable[[dict[str, torch.Tensor]], object]:
    def change(tensors: dict[str, torch.Tensor]) -> None:
        name = next(name for name, tensor in tensors.items() if (key or "") in name and tensor.ndim)
        tensors[name].flatten()[-1] = value

    return change


STATES: dict[str, Callable[[dict[str, Any]], object]] = {
    "another step than its folder's": lambda state: state.update(step=3),
    "a negative step": lambda state: state.update(step=-4),
    "a step of text": lambda state: state.update(step="4"),
    "a step without end": lambda state: state.update(step=10**4000),
    "a data position before the start": lambda state: state["data"].update(position=-1),
    "a data position beyond numbers": lambda state: state["data"].update(position=2**60),
    "no players": lambda state: state.update(players=[]),
    "another player": lambda state: state["players"].update(E=state["players"]["D"]),
    "updates of text": lambda state: state["players"]["G"].update(updates="many"),
    "no optimizer": lambda state: state["players"]["G"].update(optimizer=None),
    "a rate of text": lambda state: groups(state)[0].update(lr="fast"),
    "a rate of NaN": lambda state: groups(state)[0].update(lr=float("nan")),
    "other weights": lambda state: groups(state)[0].update(params=[0]),
    "betas of text": lambda state: groups(state)[0].update(betas="high"),
    "an optimizer that lacks a part": lambda state: state["players"]["G"]["optimizer"]["state"]["$items"][0][
        1
    ].pop("exp_avg"),
    "a list for what it keeps": lambda state: state["players"]["G"]["optimizer"]["state"]["$items"][
        1
    ].__setitem__(1, []),
    "a generator's place outside": lambda state: state["rng"]["numpy"].update(position=500_000_000),
    "a count of examples that is none": lambda state: state["data"].update(examples=None),
    "a batch of text": lambda state: state["settings"].update(batch_size="a"),
    "a tensor for a setting": lambda state: state["settings"].update(lr=state["rng"]["torch"]),
    "a task of text": lambda state: state.update(task="pool"),
    "randomness of numbers": lambda state: state["rng"].update(torch=3),
    "randomness of too few words": lambda state: state["rng"]["python"].update(words=[1]),
    "randomness of huge words": lambda state: state["rng"]["python"].update(words=[2**99] * 625),
    "a scaler of text": lambda state: state.update(scalers={"G": {"scale": "x"}}),
    "ranks of numbers": lambda state: state.update(ranks=[1, 2]),
    "a tensor that there is not": lambda state: state["rng"].update(torch={"$tensor": "x"}),
    "a tensor of no name": lambda state: state["rng"].update(torch={"$tensor": [1]}),
    "items that are none": lambda state: state.update(task={"$items": 3}),
    "keys that are lists": lambda state: state.update(task={"$items": [[[1], 2]]}),
    "no state at all": lambda state: state.clear(),
}


def groups(state: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = state["players"]["G"]["optimizer"]["param_groups"]
    return found


@pytest.mark.parametrize("what", STATES)
def test_a_state_that_can_t_be_is_an_error_of_the_checkpoint(folder: Path, what: str) -> None:
    edit_state(folder, STATES[what])
    with pytest.raises(CheckpointError, match="step-000004"):
        reload(folder)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize(
    ("file", "key"), [("G", None), ("D", None), ("G.average", None), ("state", "exp_avg")]
)
def test_numbers_that_are_not_finite_are_not_loaded(folder: Path, file: str, key: str, value: float) -> None:
    edit_tensors(folder, file, spoil(value, key))
    with pytest.raises(CheckpointError, match="NaN or infinite"):
        reload(folder)


def misshape(tensors: dict[str, torch.Tensor]) -> None:
    name = next(name for name, tensor in tensors.items() if tensor.ndim == 2)
    tensors[name] = tensors[name].T.contiguous()


def narrow(tensors: dict[str, torch.Tensor]) -> None:
    for name, tensor in tensors.items():
        tensors[name] = tensor.half()


@pytest.mark.parametrize("change", [misshape, narrow, dict.clear, lambda t: t.update(more=torch.zeros(1))])
def test_weights_of_other_shapes_formats_and_names_are_told_in_a_line(folder: Path, change: Any) -> None:
    edit_tensors(folder, "G", change)
    with pytest.raises(
        CheckpointError, match="does not fit this task and these settings: G (differs|lacks|has)"
    ) as caught:
        reload(folder)
    assert "\n" not in caught.value.message
    assert len(caught.value.message) < 300


def test_an_optimizer_s_tensors_have_the_shapes_of_its_weights(folder: Path) -> None:
    def shorten(tensors: dict[str, torch.Tensor]) -> None:
        name = next(name for name, tensor in tensors.items() if "exp_avg" in name and tensor.ndim == 2)
        tensors[name] = tensors[name][:1].clone()

    edit_tensors(folder, "state", shorten)
    with pytest.raises(CheckpointError, match="optimizer has exp_avg"):
        reload(folder)


def test_deep_nesting_breaks_no_reader(folder: Path) -> None:
    deep = "[" * 50_000 + "]" * 50_000
    for name in ("manifest.json", "state.json"):
        spoiled = folder.parent / name
        shutil.copytree(folder, spoiled)
        path = last(spoiled)
        (path / name).write_text(deep if name == "manifest.json" else f'{{"task": {deep}}}')
        if name == "state.json":
            sign(path)
        with pytest.raises(CheckpointError):
            reload(spoiled)
    (folder / "config.toml").write_text(f"x = {deep}")
    with pytest.raises(CheckpointError, match="is not TOML"):
        reload(folder)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("kind", ["pipe", "device", "sparse"])
@pytest.mark.parametrize("name", ["config.toml", "manifest", "state.json", "G.safetensors", "metrics.jsonl"])
def test_pipes_devices_and_endless_files_are_errors_at_once(folder: Path, name: str, kind: str) -> None:
    place = folder if name in ("config.toml", "metrics.jsonl") else last(folder)
    path = place / ("manifest.json" if name == "manifest" else name)
    path.unlink()
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        path.touch()
        os.truncate(path, 1 << 43)
    with pytest.raises(MmganError):
        train(reload(folder, steps=6))


LINKED = [".lock", "status.json", "metrics.jsonl", "samples", "tensorboard", "checkpoints/best.json"]


@pytest.mark.parametrize("name", LINKED)
def test_nothing_is_written_through_a_link(folder: Path, name: str, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "victim").write_text("mine")
    path = folder / name
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    folders = name in ("samples", "tensorboard")
    path.symlink_to(outside if folders else outside / "victim")
    # Refused, or replaced: either way nothing comes of it outside.
    with contextlib.suppress(MmganError):
        train(reload(folder, steps=6, sample_every=1, tensorboard=True))
    assert (outside / "victim").read_text() == "mine"
    assert [path.name for path in outside.iterdir()] == ["victim"]


def test_linked_folders_are_named(folder: Path) -> None:
    (folder / "generated").symlink_to("/tmp")
    with pytest.raises(CheckpointError, match="generated' is a link"):
        reload(folder)


@pytest.mark.parametrize("value", [str(2**40), "-1", '"many"', "[[1]]", "nan", "9" * 5000])
def test_settings_of_a_stranger_are_checked(folder: Path, value: str) -> None:
    text = (folder / "config.toml").read_text().replace("batch_size = 8", f"batch_size = {value}")
    assert value in text
    (folder / "config.toml").write_text(text)
    with pytest.raises(MmganError):
        reload(folder)


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["$tensor", "$items", "0", "a"]), inner, max_size=3)
    ),
    max_leaves=6,
)


def places(document: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """List where something stands in a document."""
    found = [path] if path else []
    items = document.items() if isinstance(document, dict) else enumerate(document)
    # Of the words of a generator a few stand for all.
    for key, value in list(items)[:8]:
        found += places(value, (*path, key)) if isinstance(value, dict | list) else [(*path, key)]
    return found


@pytest.mark.slow
@given(data=st.data())
@settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_any_value_anywhere_in_a_state_loads_or_is_an_error_of_ours(
    made: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("fuzz") / "run"
    shutil.copytree(made, folder)
    state = json.loads((last(folder) / "state.json").read_text())
    path = data.draw(st.sampled_from(places(state)))
    value = data.draw(VALUES)

    def change(state: dict[str, Any]) -> None:
        inner: Any = state
        for key in path[:-1]:
            inner = inner[key]
        inner[path[-1]] = value

    edit_state(folder, change)
    # Anything but an error of ours would come out here.
    with contextlib.suppress(MmganError):
        train(reload(folder, steps=5))


def test_large_layers_are_refused_before_they_take_memory() -> None:
    weights = {"G": {"weight": torch.zeros(10, 10)}}
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ValueError, match="far beyond"), fitting.of_size(weights):
        nn.Linear(20_000, 20_000)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000, (
        "1.6 GB would be 1,600,000 kB"
    )
    with fitting.of_size(weights):
        nn.Linear(1_000, 1_000)
    nn.Linear(2, 2)
