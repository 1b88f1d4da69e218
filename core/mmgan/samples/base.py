"""What all samples have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from PIL import Image
    from torch.utils.tensorboard import SummaryWriter


class Samples(ABC):
    """Generated examples of one modality."""

    #: The ending of the file that :meth:`save` writes.
    suffix: ClassVar[str]
    #: In a chunk of more samples: the number of the first one here, and how many were asked for in all.
    offset: int = 0
    total: int | None = None

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of samples."""

    @abstractmethod
    def save(self, path: Path) -> None:
        """Write one file that shows the samples together: all, or the first :attr:`shown` of them."""

    @abstractmethod
    def save_each(self, folder: Path) -> list[Path]:
        """Write every sample for itself into an existing folder, and return the files."""

    @property
    def shown(self) -> int:
        """How many of the samples, the first ones, :meth:`save` and :meth:`picture` show."""
        return len(self)

    def with_more(self, more: Samples) -> Samples:
        """Return these samples and those of the next chunk, or as many of them as can be shown together."""
        return self

    def numbers(self) -> list[str]:
        """Return the samples' numbers as files are named: four digits, or as many as the last one has."""
        digits = max(4, len(str((self.total or len(self)) - 1)))
        return [f"{self.offset + place:0{digits}d}" for place in range(len(self))]

    @abstractmethod
    def to_tensorboard(self, writer: SummaryWriter, tag: str, step: int) -> None:
        """Show all samples together in TensorBoard."""

    def save_walk(self, folder: Path) -> list[Path]:
        """Write the samples as consecutive points of a walk through latent space, and return the files."""
        raise NotImplementedError

    def picture(self) -> Image.Image | None:
        """Return a picture to go beside the file; None where there is none, or the file is one itself."""
        return None

    def lines(self) -> list[str] | None:
        """What to print instead of files, where samples are text themselves."""
        return None
