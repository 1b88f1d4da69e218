"""Rolling back: a run that trains goes on from an earlier checkpoint of its own, with other random draws and,
where that is asked for, with other settings.

It ends as if the run had been opened anew there: the task is built again, so that a network that has grown
since is as small as it was. Of several processes all roll back before the same step.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmgan.backend import randomness
from mmgan.config import Config, check, parse_value, to_json
from mmgan.errors import ConfigError, UsageError
from mmgan.meter import Meter
from mmgan.plugins.choices import check_choices
from mmgan.settings import merged
from mmgan.storage import changing, checkpoint, rank_state, records
from mmgan.storage.folder import find_checkpoint, read_best

if TYPE_CHECKING:
    from mmgan.run import Run


@dataclass(frozen=True)
class Request:
    """A roll-back that was asked for, and will be done after the present step."""

    step: int
    config: Config
    reason: str


def roll_back(run: Run, to: str | int | Path = "last", /, *, reason: str = "", **changes: Any) -> None:
    """Go on from an earlier checkpoint of this run after the present step, on all ranks.

    The data's order and all randomness are seeded anew by the number of roll-backs: it is not the same way
    again. Checkpoints of later steps are removed. The first request in a step counts.

    Args:
        run: The run.
        to: ``"last"`` or ``"best"``, as of now; a step; or a checkpoint's path, such as ``run.best``.
        reason: For ``metrics.jsonl`` and ``status.json``.
        changes: Settings to go on with, such as ``lr=1e-4``, with the names that ``--set`` takes. Kept in
            the run's ``config.toml``.

    Raises:
        UsageError: The run has no folder or does not train, or this is not a checkpoint of it.
        CheckpointError: There is no such checkpoint, or it is torn.
        ConfigError: A setting is unknown, not allowed, or can't change.
    """
    if not run.is_playing:
        raise UsageError("A run is rolled back while it trains.", hint="mmgan.load_run(…, which=…)")
    request = Request(_step(run.checkpoints, to), _changed(run, changes), reason)
    run.roll_back_request = run.roll_back_request or request


def best(run: Run) -> Path | None:
    """The path of the checkpoint with the best score so far, or None where there is none."""
    if run.folder is None:
        return None
    step = read_best(run.checkpoints).get("step")
    return checkpoint.path_of(run.checkpoints, step) if step in checkpoint.steps(run.checkpoints) else None


def order_seed(run: Run) -> int:
    """The seed of the data's order and augmentation: the run's own, and another after each roll-back."""
    seed, count = run.config.seed, len(run.roll_backs)
    if not count:
        return seed
    digest = hashlib.blake2b(f"roll-back/{seed}/{count}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def perform(run: Run, heard: bool) -> None:
    """Roll back as was asked for, on this rank or on another; where listeners hear of it, they are told.

    Raises:
        CheckpointError: The checkpoint is gone, torn, or of a shape that the settings no longer make.
    """
    asked: Request = run.ranks.first(run.roll_back_request)
    run.roll_back_request = None
    path = checkpoint.path_of(run.checkpoints, asked.step)
    loaded = checkpoint.load(path)
    before, now = to_json(run.config), to_json(asked.config)
    changes = {key: [before.get(key), value] for key, value in now.items() if before.get(key) != value}
    done = records.RollBack(from_step=run.step, to_step=asked.step, reason=asked.reason, changes=changes)
    count = [*run.roll_backs, done]

    run.set_up(asked.config, loaded[1].get("task"))
    run.load(path, loaded)
    run.roll_backs = count
    # Draws as before would lead to where the run has just come from.
    name = f"{run.step}/roll-back/{len(count)}"
    run.randomness = rank_state.rank_randomness(run.config.seed, name, run.ranks.rank, run.device.torch)
    run.ranks.rank_zero_first(lambda: run.loader)
    randomness.set_state(run.randomness, run.device.torch)
    run.meter = Meter(run)
    if heard:
        run.hook.after_roll_back(run=run, roll_back=done)


def _step(folder: Path, to: str | int | Path) -> int:
    """Return the step of a whole checkpoint of the run's."""
    if isinstance(to, Path):
        step = checkpoint.step_of(folder / to.name)
        if step is None or to.absolute() != (folder / to.name).absolute():
            raise UsageError(
                f"{str(to)!r} is not a checkpoint of this run.", hint=f"They are in {str(folder)!r}."
            )
        to = step
    found = checkpoint.step_of(find_checkpoint(folder, str(to)))
    assert found is not None
    return found


def _changed(run: Run, changes: Mapping[str, Any]) -> Config:
    """Return the run's settings with changes, which must be such as a roll-back can make."""
    for key in changes:
        if key in changing.FREE | changing.FIXED | run.task.fixed_settings:
            raise ConfigError(
                f"{key} can't change when a run is rolled back.",
                hint="What a step learns can, such as lr or batch_size, unless the task fixes it.",
            )
    values = {key: parse_value(type(run.config), key, value) for key, value in changes.items()}
    config = check(type(run.config), merged(to_json(run.config), values))
    check_choices(config, run.plugins)
    return config
