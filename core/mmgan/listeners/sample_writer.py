"""``samples/step-000500.png``, or ``.wav``, or ``.txt``: samples from fixed latents."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mmgan import hookimpl
from mmgan.listeners.common import writing
from mmgan.storage import files

if TYPE_CHECKING:
    from mmgan.run import Run
    from mmgan.samples import Samples


class SampleWriter:
    """Writes one file for each round of samples."""

    @hookimpl
    def after_sample(self, run: Run, step: int, samples: Samples) -> None:
        """Write the file, and the picture that goes with it where the file is not a picture."""
        with writing(run) as folder:
            path = sample_path(folder, step, samples)
            files.make_folder(path.parent)
            # Unfinished files are kept outside, so that every file in the folder is whole.
            with files.fresh(path, beside=folder) as partial:
                samples.save(partial)
            picture = samples.picture()
            if picture is not None:
                with files.fresh(path.with_suffix(".png"), beside=folder) as partial:
                    picture.save(partial)


def sample_path(folder: Path, step: int, samples: Samples) -> Path:
    """Return the path of a step's samples."""
    return folder / "samples" / f"step-{step:06d}{samples.suffix}"
