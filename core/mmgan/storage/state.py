"""A run's state: what a checkpoint holds of it, and restoring a run from one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError
from torch import Tensor

from mmgan import helpers, keeping
from mmgan.backend import nonfinite, randomness
from mmgan.backend.device import Device
from mmgan.backend.graphs import graphs_for
from mmgan.config import GREATEST, check, to_json
from mmgan.errors import CheckpointError, ConfigError, MmganError, UsageError, line, shown
from mmgan.players import enter
from mmgan.settings import merged, nested
from mmgan.stages import locate
from mmgan.storage import changing, checkpoint, fitting, rank_state, records

if TYPE_CHECKING:
    from mmgan.run import Run


def save(run: Run) -> Path:
    """Write a checkpoint of the current step, and return its path.

    Raises:
        DivergedError: Something in the run is NaN or infinite; nothing was written.
        PluginError: The processes that train the run have different weights; nothing was written.
        UsageError: Several processes train, and this is not rank 0 saving while it trains.
        CheckpointError: The disk refused it.
    """
    if run.ranks.world > 1 and (run.ranks.rank or not run.is_playing):
        raise UsageError(
            f"A run of {run.ranks.world} processes is saved by rank 0, and while it trains.",
            hint="checkpoint_every says when; a run is saved when it ends, too.",
        )
    run.check_finite()
    for name, player in run.players.items():
        nonfinite.check_weights(name, player.module, player.optimizer)
        if player.average is not None:
            nonfinite.check_weights(f"{name}.average", player.average)
    state = state_dict(run) | {"settings": changing.settings_of(run.config)}
    if run.ranks.world > 1:
        own = own_state(run)
        others = run.ranks.gather_states(own)
        rank_state.check_weights(own["weights"], [other["weights"] for other in others])
        state["ranks"] = [
            {"rng": other["rng"], "task": rank_state.difference(other["task"], own["task"])}
            for other in others
        ]
    helpers.keep(run)
    run.hook.before_save(run=run, state=state)
    return checkpoint.save(run.checkpoints, run.step, weights_of(run), state)


def weights_of(run: Run) -> dict[str, dict[str, Tensor]]:
    """Return the state dict of every network: ``G``, ``D``, and ``G.average`` for a moving average."""
    modules = {name: player.module for name, player in run.players.items()}
    averages = {f"{name}.average": p.average for name, p in run.players.items() if p.average is not None}
    return {name: module.state_dict() for name, module in {**modules, **averages}.items()}


def state_dict(run: Run) -> dict[str, Any]:
    """Return everything but the weights that the run's future depends on."""
    return {
        "plugin": run.config.plugin,
        "step": run.step,
        "players": {
            name: {
                "updates": player.updates,
                "images": player.images,
                "optimizer": player.optimizer.state_dict(),
                "options": run.options[name],
            }
            for name, player in run.players.items()
        },
        "scalers": run.precision.state_dict(),
        "data": run.loader.state_dict() if run.data_is_open else run.position,
        **({"data_info": run.known.model_dump(mode="json")} if run.known else {}),
        "task": run.task.state_dict(),
        **({"kept": keeping.states(run)} if run.kept else {}),
        "roll_backs": [done.model_dump() for done in run.roll_backs],
        **({"helpers": dict(run.helper_digests)} if run.helpers else {}),
        "rng": randomness.get_state(run.device.torch) if run.is_playing else run.randomness,
    }


def own_state(run: Run) -> dict[str, Any]:
    """Return the part of :meth:`state_dict` that each of several ranks has for itself, on the CPU.

    ``weights`` in it holds a digest of each network's weights, which must be the same on all ranks.
    """
    state = state_dict(run)
    own: dict[str, Any] = Device("cpu").move({"rng": state["rng"], "task": state["task"]})
    weights = {name: rank_state.digest(player.module.parameters()) for name, player in run.players.items()}
    return own | {"weights": weights | keeping.digests(run)}


def load(run: Run, path: Path, loaded: checkpoint.Loaded | None = None, to_train: bool = True) -> None:
    """Restore the run from a checkpoint.

    Args:
        path: The checkpoint.
        loaded: Its content, if it was read already.
        to_train: If false, optimizers stay as they were built.

    Raises:
        CheckpointError: The checkpoint is torn, altered, or of another task or other settings.
    """
    weights, document = loaded or checkpoint.load(path)
    try:
        saved = records.State.model_validate(document)
        if checkpoint.path_of(path.parent, saved.step).name != path.name:
            raise ValueError(f"its state is of step {saved.step}")
        size = saved.settings.get("batch_size", 1)
        if not isinstance(size, int) or not 1 <= size <= GREATEST["batch_size"]:
            raise ValueError(f"it was made with batch_size = {shown(size)}")
        run.changed = changing.find(saved.settings, run.config)
        changing.check(run.changed, run.task.fixed_settings, saved.step)
        run.saved_by = 1 + len(saved.ranks)
        state = rank_state.own_part(document, run.ranks, run.config.seed, run.device.torch)
        randomness.check_state(state["rng"], run.device.torch)
        number = locate(run.stages, saved.step - 1)[0] if saved.step else -1
        with randomness.isolated(run.config.seed, run.device.torch), fitting.of_size(weights):
            if run.entered > number + 1:
                # Networks that have grown since are rebuilt as small as they were.
                run.set_up(run.config, document["task"])
            enter(run, number)
        run.stepper = graphs_for(run) or run.task
        helpers.check(run, saved.helpers)
        _load_players(run, weights, saved, to_train)
        run.precision.load_state_dict(state["scalers"])
        run.task.load_state_dict(state["task"])
        keeping.restore(run, saved.kept)
        run.step = saved.step
        run.roll_backs = list(saved.roll_backs)
        run.position = _rescaled(run, state["data"])
        if run.data_is_open:
            run.loader.reseed(run.order_seed)
            run.loader.load_state_dict(run.position)
        run.saved = {}
        run.hook.after_load(run=run, state=state)
    except MmganError:
        raise
    # A stranger's state may make a task, a generator or torch raise anything.
    except Exception as error:
        raise _unfit(run, path, weights, error) from error
    run.randomness = state["rng"]


def _load_players(
    run: Run, weights: Mapping[str, Mapping[str, Tensor]], saved: records.State, to_train: bool
) -> None:
    """Load weights, moving averages and optimizers.

    Raises:
        ValueError: They do not fit what the task has built.
    """
    expected = weights_of(run).keys()
    if expected != weights.keys() or run.players.keys() != saved.players.keys():
        raise ValueError(f"it holds the networks {', '.join(weights)}, and not {', '.join(expected)}")
    for name, player in run.players.items():
        own = saved.players[name]
        fitting.load_weights(name, player.module, weights[name])
        if player.average is not None:
            fitting.load_weights(f"{name}.average", player.average, weights[f"{name}.average"])
        player.updates, player.images = own.updates, own.images
        if not to_train:
            continue
        fitting.load_optimizer(name, player.optimizer, own.optimizer)
        changing.apply_options(player.optimizer, own.options, run.options[name])
        # An option may need more state than was kept, as momentum does.
        fitting.check_state(name, player.optimizer)


def _rescaled(run: Run, data: dict[str, Any]) -> dict[str, Any]:
    """Return the data's position in batches of the current size, if it is not given in examples."""
    before, now = run.changed.get("batch_size", (1, 1))
    if not data or "start" in data:
        return data
    return {**data, "position": data["position"] * before // now}


def _unfit(run: Run, path: Path, weights: Mapping[str, Mapping[str, Tensor]], error: Exception) -> MmganError:
    """Return the error for a checkpoint that does not fit, with the changed settings that cause it."""
    reason = checkpoint.first_problem(error) if isinstance(error, ValidationError) else line(error)
    if run.changed:
        culprits = [key for key in run.changed if not _would_fit(run, key, weights)] or [*run.changed]
        told = changing.describe({key: run.changed[key] for key in culprits})
        return ConfigError(
            f"{' and '.join(culprits)} can't change in a run that has begun ({told}): {reason}.",
            hint="Undo that (in its config.toml, or --set), or begin a new run.",
        )
    return CheckpointError(
        f"The checkpoint {str(path)!r} does not fit this task and these settings: {reason}.",
        hint="A run's config.toml must stay as it was when the checkpoint was written.",
    )


def _would_fit(run: Run, key: str, weights: Mapping[str, Mapping[str, Tensor]]) -> bool:
    """Whether networks built with only this changed setting have the shapes of a checkpoint's."""
    try:
        return _builds_alike(run, key, weights)
    except Exception:
        # The setting alone is invalid, or the plugin can't build with it: it may or may not be the reason.
        return True


def _builds_alike(run: Run, key: str, weights: Mapping[str, Mapping[str, Tensor]]) -> bool:
    settings = to_json(run.config)
    for name, (old, _) in run.changed.items():
        settings = merged(settings, nested(name.split("."), old) if name != key else {})
    config = check(type(run.config), settings)
    task = type(run.task)(config)
    task.run = run
    with randomness.isolated(config.seed, run.device.torch):
        players = task.build()
    return all(
        {k: v.shape for k, v in player.module.state_dict().items()}
        == {k: v.shape for k, v in weights.get(name, {}).items()}
        for name, player in players.items()
    )
