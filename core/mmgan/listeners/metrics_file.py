"""``metrics.jsonl``: one line for each log and for each evaluation."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mmgan import hookimpl
from mmgan.checkpoint import write_atomically
from mmgan.listeners.common import losses_of, writing

if TYPE_CHECKING:
    from mmgan.run import Run

_NAME = "metrics.jsonl"


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
            if not path.exists():
                return
            text = path.read_text(encoding="utf-8", errors="replace")
            kept = [line for line in text.splitlines() if _parse(line).get("step", math.inf) <= run.step]
            if text != (whole := "".join(f"{line}\n" for line in kept)):
                write_atomically(path, whole)
        if kept:
            run.seconds = max(run.seconds, _parse(kept[-1]).get("seconds", 0.0))

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


def _append(run: Run, record: Mapping[str, Any]) -> None:
    # Opened for each line: nothing is left to flush or to close, however the run ends.
    with writing(run) as folder, (folder / _NAME).open("a", encoding="utf-8") as file:
        file.write(json.dumps(record) + "\n")


def _plain(values: Mapping[str, float]) -> dict[str, float | None]:
    """Return Python floats, and None for NaN and infinity, which JSON does not have."""
    return {name: float(value) if math.isfinite(value) else None for name, value in values.items()}


def _parse(line: str) -> dict[str, Any]:
    """Return a line's record; that of a torn line is empty."""
    try:
        record = json.loads(line)
    except ValueError:
        return {}
    return record if isinstance(record, dict) else {}
