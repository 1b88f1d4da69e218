"""``tensorboard/``: the run's losses, speed, scores and samples for TensorBoard."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING

from mmgan import hookimpl
from mmgan.extras import need
from mmgan.listeners.common import losses_of, writing
from mmgan.storage import files

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

    from mmgan.run import Run
    from mmgan.samples import Samples


class TensorBoard:
    """Writes event files."""

    def __init__(self) -> None:
        self._writer: SummaryWriter | None = None

    @hookimpl
    def before_run(self, run: Run) -> None:
        """Open an event file; TensorBoard then hides what a killed run wrote after its last checkpoint."""
        self._open(run)

    @hookimpl
    def after_roll_back(self, run: Run) -> None:
        """Open another file, which hides the undone steps."""
        self._close()
        self._open(run)

    def _open(self, run: Run) -> None:
        need("tensorboard", "tensorboard", "tensorboard = true", "--set tensorboard=false")
        from torch.utils.tensorboard import SummaryWriter

        with writing(run) as folder:
            place = files.make_folder(folder / "tensorboard")
            purge = run.step + 1 if run.step else None
            # The file's name is unpredictable, so that nobody can put a link there.
            suffix = f".{uuid.uuid4().hex}"
            self._writer = SummaryWriter(str(place), purge_step=purge, filename_suffix=suffix)

    @hookimpl
    def after_log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Write the losses under their names, and the speed."""
        speed = {f"speed/{name}": metrics[name] for name in ("steps_per_s", "samples_per_s", "data_wait")}
        self._add(step, {**losses_of(metrics), **speed})

    @hookimpl
    def after_evaluate(self, step: int, scores: Mapping[str, float]) -> None:
        """Write the scores."""
        self._add(step, {f"scores/{name}": value for name, value in scores.items()})

    @hookimpl
    def after_sample(self, step: int, samples: Samples) -> None:
        """Show the samples."""
        if self._writer is not None:
            samples.to_tensorboard(self._writer, "samples", step)

    @hookimpl
    def before_save(self) -> None:
        """Flush events from before a checkpoint, which a resumed run does not write again."""
        if self._writer is not None:
            self._writer.flush()

    @hookimpl
    def after_run(self) -> None:
        """Close the file."""
        self._close()

    @hookimpl
    def on_run_error(self) -> None:
        """Close the file."""
        self._close()

    def _add(self, step: int, values: Mapping[str, float]) -> None:
        if self._writer is not None:
            for name, value in values.items():
                self._writer.add_scalar(name, value, step)

    def _close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None
