"""Helpers: frozen networks that a task uses and never trains, such as a judge, an encoder or features.

Their weights are kept once, in the run's folder (``helpers/NAME.safetensors``), when its first checkpoint is
saved. Each checkpoint holds a digest of them, so that none goes on with others.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import safetensors.torch
from torch import nn

from mmgan.errors import CheckpointError, MmganError, PluginError, unsafe
from mmgan.storage import files, fitting, rank_state, records

if TYPE_CHECKING:
    from mmgan.run import Run

FOLDER = "helpers"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")

#: Fills in a network's weights.
Fill = Callable[[nn.Module], object]


def helper(run: Run, name: str, module: nn.Module, load: Fill | None = None) -> nn.Module:
    """Use a network that is never trained; call it in ``Task.build``, and return the network.

    It is moved to the device, set to eval, frozen, and given to ``configure_module``. Its weights are kept in
    the run's folder once, and a resume reads them from there.

    Args:
        run: The run.
        name: Of its file: letters, digits, ``-`` and ``_``; not a player's.
        module: The network. It must not be a part of a player's.
        load: Fills in its weights, called where the run's folder does not have them: so what it reads is
            needed only once.

    Raises:
        PluginError: The name is not allowed or a player's, or the network is a part of a player's.
        CheckpointError: The run's folder has other weights under this name, or they can't be read.
    """
    if not _NAME.fullmatch(name):
        raise PluginError(f"run.helper: {name!r} is not a name of letters, digits, - and _.")
    run.helpers[name] = module
    run.helper_loads[name] = load
    # Those that `build` makes are prepared after the players, which hooks may want to see.
    if run.players:
        prepare(run, name)
    return module


def prepare(run: Run, name: str) -> None:
    """Freeze a helper, give it its weights, and bring it to the device."""
    module, load = run.helpers[name], run.helper_loads[name]
    if name in run.players:
        raise PluginError(f"run.helper: {name!r} is the name of a player.")
    own = {id(parameter) for parameter in module.parameters()}
    for player, theirs in run.players.items():
        if any(id(parameter) in own for parameter in theirs.module.parameters()):
            raise PluginError(
                f"The helper {name!r} shares weights with the player {player!r}, which is trained.",
                hint="A helper is never trained: copy the network.",
            )
    path = run.folder / FOLDER / f"{name}.safetensors" if run.folder is not None else None
    if path is not None and os.path.lexists(path):
        size = sum(value.numel() * value.element_size() for value in module.state_dict().values())
        try:
            fitting.load_weights(name, module, safetensors.torch.load(files.read(path, size + records.SMALL)))
        except files.UnsafeFileError as error:
            raise unsafe(error) from error
        # safetensors raises nearly anything on a hostile file.
        except Exception as error:
            raise CheckpointError(f"The helper's weights {str(path)!r} can't be used: {error}.") from error
    elif load is not None:
        load(module)
    run.helper_digests[name] = rank_state.digest(module.state_dict().values())
    module.to(run.device.torch).eval().requires_grad_(False)
    run.hook.configure_module(run=run, name=name, module=module)


def keep(run: Run) -> None:
    """Write those weights that the run's folder does not have yet."""
    folder = run.checkpoints.parent / FOLDER
    for name, module in run.helpers.items():
        try:
            path = files.make_folder(folder) / f"{name}.safetensors"
            if os.path.lexists(path):
                continue
            weights = {key: value.detach().cpu().clone() for key, value in module.state_dict().items()}
            with files.fresh(path, durable=True) as partial:
                partial.write_bytes(safetensors.torch.save(weights))
        except files.UnsafeFileError as error:
            raise unsafe(error) from error
        except OSError as error:
            raise MmganError(f"Can't write the weights of the helper {name!r}: {error.strerror}.") from error


def check(run: Run, saved: Mapping[str, str]) -> None:
    """Compare the helpers with those that a checkpoint was made with.

    Raises:
        CheckpointError: They are others.
    """
    for name, digest in run.helper_digests.items():
        if saved.get(name, digest) != digest:
            raise CheckpointError(
                f"The helper {name!r} has other weights than those that the run was trained with.",
                hint=f"They belong in the run's folder: {FOLDER}/{name}.safetensors.",
            )
