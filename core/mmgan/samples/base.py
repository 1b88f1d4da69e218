"""The base class of samples."""

from __future__ import annotations

import re
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
    #: The class of each sample by name, where classes were learned; it ends the name of a sample's file.
    labels: list[str] | None = None

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of samples."""

    @abstractmethod
    def save(self, path: Path) -> None:
        """Write one file that shows the samples together: all, or the first :attr:`shown` of them.

        Args:
            path: The file, which ends with :attr:`suffix` and is replaced if it exists.

        Raises:
            OSError: The file can't be written.
        """

    @abstractmethod
    def save_each(self, folder: Path) -> list[Path]:
        """Write each sample to a file of its own, and return the files.

        Args:
            folder: An existing folder; files are named by :meth:`numbers`.

        Raises:
            OSError: A file can't be written.
        """

    @property
    def shown(self) -> int:
        """How many samples, counted from the first, :meth:`save` and :meth:`picture` show."""
        return len(self)

    def with_more(self, more: Samples) -> Samples:
        """Return these samples and those of the next chunk, or as many of them as can be shown together.

        Args:
            more: The next chunk, of the same class.
        """
        return self

    def numbers(self) -> list[str]:
        """Return the samples' numbers for file names: four digits, or as many as the last number has; with
        their classes, ``0000-cat``, where they have some.
        """
        digits = max(4, len(str((self.total or len(self)) - 1)))
        endings = [f"-{_plain(label)}" for label in self.labels] if self.labels else [""] * len(self)
        return [f"{self.offset + place:0{digits}d}{ending}" for place, ending in enumerate(endings)]

    def labels_with(self, more: Samples, room: int) -> list[str] | None:
        """Return these samples' classes and those of the first ``room`` of ``more``."""
        return self.labels + more.labels[:room] if self.labels and more.labels else None

    @abstractmethod
    def to_tensorboard(self, writer: SummaryWriter, tag: str, step: int) -> None:
        """Show all samples together in TensorBoard.

        Args:
            writer: The run's event file.
            tag: The name to show them under.
            step: The run's step at which they were generated.
        """

    def save_walk(self, folder: Path) -> list[Path]:
        """Write the samples as consecutive points of a walk through latent space, and return the files.

        Args:
            folder: An existing folder.

        Raises:
            NotImplementedError: The modality has no picture of a walk.
        """
        raise NotImplementedError

    def picture(self) -> Image.Image | None:
        """Return a picture to go beside the file, or None where there is none or the file is a picture."""
        return None

    def lines(self) -> list[str] | None:
        """Return the lines to print instead of writing files, or None where samples are not text."""
        return None


def _plain(label: str) -> str:
    """Return a class's name as a part of a file's name."""
    return re.sub(r"[^\w.+-]+", "_", label)[:40]
