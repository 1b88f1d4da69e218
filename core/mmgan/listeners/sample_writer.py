"""``samples/step-000500.png``, or ``.wav``, or ``.txt``: what the generator makes of the same latents."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from mmgan import hookimpl
from mmgan.listeners.common import writing

if TYPE_CHECKING:
    from mmgan.run import Run
    from mmgan.samples import Samples


class SampleWriter:
    """Writes one file for each round of samples."""

    @hookimpl
    def after_sample(self, run: Run, step: int, samples: Samples) -> None:
        """Write the file, and the picture that belongs to it if it is none itself."""
        with writing(run) as folder:
            path = sample_path(folder, step, samples)
            path.parent.mkdir(exist_ok=True)
            _write(samples.save, path)
            picture = samples.picture()
            if picture is not None:
                _write(picture.save, path.with_suffix(".png"))


def _write(save: Callable[[Path], None], path: Path) -> None:
    """Write a file beside the samples' folder and move it in, so that all files in there are whole."""
    partial = path.parent.parent / f".partial{path.suffix}"
    try:
        save(partial)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def sample_path(folder: Path, step: int, samples: Samples) -> Path:
    """Return where the samples of a step belong."""
    return folder / "samples" / f"step-{step:06d}{samples.suffix}"
