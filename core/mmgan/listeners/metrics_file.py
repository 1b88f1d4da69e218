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

_NAME = "metrics.jsonl"
#: Bytes that it can honestly have: some millions of lines.
_LARGEST = 1 << 30


class MetricsFile:
    """Appends metrics and scores to a file of JSON lines, whole and in the order of their steps."""

    @hookimpl
    def before_run(self, run: Run) -> None:
        """Drop what a killed run wrote after its last checkpoint, and take up its clock.

        The clock is kept here and not in checkpoints, so that these are the same bytes whether a run was
        stopped or not.
        """
        with writing(run) as folder:
            path = folder / _NAME
            seconds = _keep(path, run.step) if os.path.lexists(path) else 0.0
        run.seconds = max(run.seconds, seconds)
        if run.changed:
            told = {
                key: {"from": _json(before), "to": _json(now)} for key, (before, now) in run.changed.items()
            }
            _append(run, {"step": run.step, "seconds": run.seconds, "settings": told})

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


def _keep(path: Path, step: int) -> float:
    """Keep the lines up to a step, and return the clock of the last one. A torn line goes."""
    seconds = 0.0
    with (
        files.open_to_read(path, _LARGEST) as old,
        files.fresh(path, durable=True) as new,
        new.open("wb") as kept,
    ):
        while line := old.readline(records.SMALL):
            try:
                record = records.Line.model_validate_json(line)
            except ValueError:
                continue
            # A resume that was killed before its first checkpoint changed nothing.
            undone = record.step == step and "settings" in (record.model_extra or {})
            if record.step <= step and line.endswith(b"\n") and not undone:
                kept.write(line)
                seconds = record.seconds
    return seconds


def _append(run: Run, record: Mapping[str, Any]) -> None:
    # Opened for each line: nothing is left to flush or to close, however the run ends.
    with writing(run) as folder:
        files.append_text(folder / _NAME, json.dumps(record) + "\n")


def _json(value: Any) -> Any:
    """Return a setting as JSON has it, which knows no NaN and no infinity."""
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _plain(values: Mapping[str, float]) -> dict[str, float | None]:
    """Return Python floats, and None for NaN and infinity, which JSON does not have."""
    return {name: float(value) if math.isfinite(value) else None for name, value in values.items()}
