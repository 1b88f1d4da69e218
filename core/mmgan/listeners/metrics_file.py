"""``metrics.jsonl``: one line for each log and for each evaluation."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmgan import hookimpl
from mmgan.listeners.common import losses_of, writing
from mmgan.storage import files, records

if TYPE_CHECKING:
    from mmgan.run import Run
    from mmgan.storage.records import RollBack

_NAME = "metrics.jsonl"
#: Most bytes of the file: some millions of lines.
_LARGEST = 1 << 30


class MetricsFile:
    """Appends metrics and scores to a file of JSON lines, whole and in the order of their steps."""

    @hookimpl
    def before_run(self, run: Run) -> None:
        """Drop what a killed run wrote after its last checkpoint, and continue its clock.

        The clock is kept here and not in checkpoints, so that their bytes are the same whether a run was
        stopped or not.
        """
        with writing(run) as folder:
            path = folder / _NAME
            seconds = _keep(path, run.step, len(run.roll_backs)) if os.path.lexists(path) else 0.0
        run.seconds = max(run.seconds, seconds)
        if run.changed:
            told = {
                key: {"from": _json(before), "to": _json(now)} for key, (before, now) in run.changed.items()
            }
            _append(run, {"step": run.step, "seconds": run.seconds, "settings": told})

    @hookimpl
    def after_roll_back(self, run: Run, roll_back: RollBack) -> None:
        """Write that the run rolls back; the lines of the undone steps stay."""
        told = {key: {"from": before, "to": now} for key, (before, now) in roll_back.changes.items()}
        steps = {"from": roll_back.from_step, "to": roll_back.to_step}
        record = {"count": len(run.roll_backs), **steps, "reason": roll_back.reason, "settings": told}
        _append(run, {"step": run.step, "seconds": run.seconds, "roll_back": record})

    @hookimpl
    def after_log(self, run: Run, step: int, metrics: Mapping[str, Any]) -> None:
        """Write the losses and the speed."""
        record = {"step": step, "stage": metrics["stage"], "seconds": metrics["seconds"]}
        speed = {name: metrics[name] for name in ("samples_per_s", "steps_per_s", "data_wait")}
        _append(run, {**record, **_plain(losses_of(metrics)), **speed})

    @hookimpl
    def after_evaluate(self, run: Run, step: int, scores: Mapping[str, float]) -> None:
        """Write the scores."""
        _append(run, {"step": step, "seconds": run.seconds, "scores": _plain(scores)})


def _keep(path: Path, step: int, roll_backs: int) -> float:
    """Keep the lines up to a step after n roll-backs, and return the clock of the last one. All lines from
    before the last roll-back stay, though their steps may be later. A torn line is removed.
    """
    seconds = 0.0
    undone_lines, end = _branch(path, roll_backs)
    with (
        files.open_to_read(path, _LARGEST) as old,
        files.fresh(path, durable=True) as new,
        new.open("wb") as kept,
    ):
        number = 0
        while (line := old.readline(records.SMALL)) and number < end:
            number += 1
            try:
                record = records.Line.model_validate_json(line)
            except ValueError:
                continue
            # A resume that was killed before its first checkpoint changed nothing.
            undone = record.step == step and "settings" in (record.model_extra or {})
            wanted = number <= undone_lines or (record.step <= step and not undone)
            if wanted and line.endswith(b"\n"):
                kept.write(line)
                seconds = record.seconds
    return seconds


def _branch(path: Path, roll_backs: int) -> tuple[int, float]:
    """Return the number of the line with the last of n roll-backs, 0 for none, and the number of lines before
    the next one, which a resume undoes.
    """
    last, number = 0, 0
    with files.open_to_read(path, _LARGEST) as file:
        while line := file.readline(records.SMALL):
            number += 1
            try:
                record = records.Line.model_validate_json(line)
            except ValueError:
                continue
            told = (record.model_extra or {}).get("roll_back")
            # A loss may have this name.
            if not isinstance(told, dict) or not isinstance(told.get("count"), int):
                continue
            if told["count"] > roll_backs:
                return last, number - 1
            last = number
    return last, math.inf


def _append(run: Run, record: Mapping[str, Any]) -> None:
    # Opened for each line: nothing needs to be flushed or closed, however the run ends.
    with writing(run) as folder:
        files.append_text(folder / _NAME, json.dumps(record) + "\n")


def _json(value: Any) -> Any:
    """Return a setting as JSON, which has neither NaN nor infinity."""
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _plain(values: Mapping[str, float]) -> dict[str, float | None]:
    """Return Python floats, and None for NaN and infinity, which JSON does not have."""
    return {name: float(value) if math.isfinite(value) else None for name, value in values.items()}
