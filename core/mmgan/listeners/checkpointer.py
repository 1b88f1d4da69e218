"""When checkpoints are saved, and which of them are kept."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mmgan import hookimpl
from mmgan.listeners.common import writing
from mmgan.storage import checkpoint, files
from mmgan.storage.folder import read_best

if TYPE_CHECKING:
    from mmgan.run import Run


class Checkpointer:
    """Saves every ``checkpoint_every`` steps and at the end; keeps the newest ``keep`` and the best one.

    After an error nothing is saved, since the weights may be wrong. The checkpoint before it is whole.
    """

    def __init__(self) -> None:
        self._saved: int | None = None
        self._best: dict[str, Any] = {}

    @hookimpl
    def before_run(self, run: Run) -> None:
        """Remove leftovers of a killed run, and find the existing checkpoints."""
        with writing(run):
            files.sweep(run.checkpoints)
            self._saved = run.step if run.step in checkpoint.steps(run.checkpoints) else None
        self._find_best(run)

    def _find_best(self, run: Run) -> None:
        with writing(run):
            present = checkpoint.steps(run.checkpoints)
            self._best = read_best(run.checkpoints)
            usable = (
                self._best.get("score") == run.task.best_score
                and self._best.get("step") in present
                and self._best["step"] <= run.step
            )
            if self._best and not usable:
                self._best = {}
                (run.checkpoints / "best.json").unlink(missing_ok=True)

    @hookimpl
    def after_evaluate(self, run: Run, step: int, scores: Mapping[str, float]) -> None:
        """Remember the best score; its checkpoint is saved with the step."""
        name = run.task.best_score
        value = float(scores.get(name, math.nan))
        if math.isfinite(value) and value < self._best.get("value", math.inf):
            self._best = {"step": step, "score": name, "value": value}

    # Last of all listeners: by then the step's files and the other listeners' states are complete.
    @hookimpl(trylast=True)
    def after_step(self, run: Run, step: int) -> None:
        """Save if it is due or the score is the best so far, but not before a roll-back."""
        if run.roll_back_request is not None:
            return
        best = self._best.get("step") == step
        if best or (run.config.checkpoint_every and step % run.config.checkpoint_every == 0):
            self._save(run)
            if best:
                with writing(run):
                    files.write_text(run.checkpoints / "best.json", json.dumps(self._best) + "\n")
            # Only now, so that a concurrent reader always finds a best one.
            self._prune(run)

    @hookimpl(trylast=True)
    def after_roll_back(self, run: Run) -> None:
        """Save the run as it goes on, so that a resume starts from there; then remove later checkpoints."""
        self._find_best(run)
        self._saved = None
        self._save(run)
        self._prune(run)

    @hookimpl
    def after_run(self, run: Run) -> None:
        """Save where the run ended, so that it can go on from there."""
        self._save(run)
        self._prune(run)

    def _save(self, run: Run) -> None:
        if self._saved != run.step:
            run.save()
            self._saved = run.step

    def _prune(self, run: Run) -> None:
        """Remove all but the newest and the best.

        Those of later steps are removed too: they are torn, or from before the run was resumed at an earlier
        step, and would be taken for newer than the new checkpoint.
        """
        with writing(run):
            present = checkpoint.steps(run.checkpoints)
            kept = [step for step in present if step <= run.step][-run.config.keep :]
            for step in set(present) - {*kept, self._best.get("step")}:
                checkpoint.remove(run.checkpoints, step)
