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

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of samples."""

    @abstractmethod
    def save(self, path: Path) -> None:
        """Write one file that shows all samples together."""

    @abstractmethod
    def save_each(self, folder: Path) -> list[Path]:
        """Write every sample for itself into an existing folder, and return the files."""

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
