"""Sources of pictures: a folder, one of torchvision's data sets, or scikit-learn's digits."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib
import inspect
import operator
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from PIL import Image, UnidentifiedImageError

from mmgan.data.foreign_formats import FOREIGN, HEIC, advise
from mmgan.data.image.memory import check_icons
from mmgan.data.tree import FileTree, open_data
from mmgan.errors import DataError, did_you_mean
from mmgan.extras import built_for_torch, need

if TYPE_CHECKING:
    import torch
    from torch import Tensor

#: Pillow's formats that are not raster images: they run a program (Ghostscript), or can be named but not
#: decoded. Given to ``Image.open`` too, so that no suffix can smuggle them in.
_NOT_PICTURES = {"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF"}


class ImageSource(Protocol):
    """Pictures with labels. ``str(source)`` is what a person calls it.

    It may also have ``classes``, the names of the classes, of which a label is a position; ``table``, a
    :class:`mmgan.data.table.Table` of captions and other columns; and ``judge``, a :class:`Judge`.
    """

    #: How many files were passed over because their names are not those of pictures.
    others: int

    def __len__(self) -> int:
        """Return the number of pictures, readable or not."""

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        """Open a picture, and give its label. May raise anything where the picture is damaged."""

    def name(self, index: int) -> str:
        """Name a picture, for messages."""

    @property
    def fingerprint(self) -> str:
        """Name the pictures for the cache: equal for the same ones, different after any change to them."""


class Judge(Protocol):
    """What measures generated pictures as only these data allow, beside the scores that all pictures have."""

    #: How many pictures are judged where nobody says.
    samples: int

    def scores(
        self, pictures: Iterable[Tensor], device: torch.device, progress: Callable[[int, int], None] | None
    ) -> Mapping[str, float]:
        """Score pictures, by name.

        Args:
            pictures: Batches, float (n, channels, height, width) in [-1, 1], on ``device``.
            device: Where the run computes.
            progress: Called with (done, total) now and then where something is prepared.
        """


class ImageFolder(FileTree):
    """All pictures below a folder, labelled by its first-level subfolders.

    Args:
        path: A folder, or a single picture.
    """

    noted = FOREIGN

    def __init__(self, path: Path) -> None:
        super().__init__(path, _suffixes())

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        return open_picture(self._paths[index]), self.labels[index]

    def foreign(self) -> Counter[str]:
        """Count what looks like pictures and is not read, by suffix, but for what has a readable copy."""
        copies = {path.with_suffix("") for path in self._paths} if self.not_read else set()
        return Counter(path.suffix.lower() for path in self.not_read if path.with_suffix("") not in copies)


def open_picture(path: str | Path) -> Image.Image:
    """Open a picture, of which nothing is decoded yet.

    Raises:
        OSError: The file is gone, may not be read, or is not an ordinary one.
        ValueError: It is empty, or no picture that Pillow reads.
        Exception: Whatever Pillow raises on a damaged picture.
    """
    # Opened here and not by Pillow, which would wait for a pipe, and map a file into memory that may be cut
    # short meanwhile.
    file = open_data(Path(path))
    try:
        check_icons(file)
        image = Image.open(file, formats=_formats())
    except BaseException as error:
        suffix = Path(path).suffix.lower()
        file.seek(4)
        if isinstance(error, UnidentifiedImageError) and file.read(8).startswith(HEIC):
            suffix = ".heic"
        file.close()
        if isinstance(error, UnidentifiedImageError) and suffix in FOREIGN:
            raise ValueError(f"not a picture that is read: {advise([suffix])}") from error
        raise
    # As if Pillow had opened it: closed when the picture is.
    image._exclusive_fp = True
    return image


class TorchvisionImages:
    """One of torchvision's data sets of pictures: its training part.

    Args:
        name: The class in ``torchvision.datasets``: MNIST, CIFAR10, SVHN, …
        root: The folder below which torchvision keeps its data.
        download: Fetch what is missing.

    Raises:
        DataError: The name is unknown, the data is missing, or it holds no pictures.
        UsageError: torchvision is not installed.
    """

    others = 0

    def __init__(self, name: str, root: str, download: bool) -> None:
        need("torchvision", "torchvision", f"torchvision:{name}")
        classes = _torchvision_classes()
        if name not in classes:
            raise DataError(
                f"torchvision has no data set of pictures {name!r}. {did_you_mean(name, classes)}".rstrip(),
                hint=f"One of: {', '.join(sorted(classes))}.",
            )
        self._name = name
        options: dict[str, Any] = {"root": root}
        if "download" in inspect.signature(classes[name]).parameters:
            options["download"] = download
        try:
            # stdout is for data, and torchvision may print while it downloads.
            with contextlib.redirect_stdout(sys.stderr):
                self._dataset = classes[name](**options)
        except (OSError, RuntimeError, ValueError, ImportError) as error:
            fetch = " or --set download=true" if "download" in options else ""
            raise DataError(
                f"torchvision's {name} can't be opened below {root!r}: {error}",
                hint=f"Give its folder by --set data_root=FOLDER{fetch}.",
            ) from error
        if len(self._dataset) and not isinstance(self._dataset[0][0], Image.Image):
            raise DataError(
                f"torchvision's {name} gives no pictures but {type(self._dataset[0][0]).__name__}.",
                hint="Take another, such as torchvision:MNIST.",
            )

    @property
    def classes(self) -> list[str | tuple[str, ...]]:
        """The names of the classes; empty where the data set has none."""
        given = getattr(self._dataset, "classes", None)
        return list(given) if isinstance(given, list | tuple) else []

    def __str__(self) -> str:
        return f"torchvision's {self._name}"

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        image, target = self._dataset[index][:2]
        try:
            return image, operator.index(target)
        except TypeError:  # boxes, attributes, captions: no label
            return image, 0

    def name(self, index: int) -> str:
        """Return a picture's number."""
        return f"{self._name} {index}"

    @functools.cached_property
    def fingerprint(self) -> str:
        """A hash of the data set's name and size and of 64 of its pictures: its files are its own matter."""
        digest = hashlib.sha256(f"{self._name} {len(self)}".encode())
        for index in np.linspace(0, len(self) - 1, 64, dtype=int).tolist() if len(self) else []:
            image, label = self[index]
            digest.update(f" {label} {image.mode} {image.size} ".encode() + image.tobytes())
        return digest.hexdigest()


class Digits:
    """scikit-learn's 1,797 handwritten digits, 8x8 (Alpaydin and Kaynak 1998): there without a download."""

    fingerprint = "digits"
    others = 0
    classes = tuple("0123456789")

    def __str__(self) -> str:
        return "scikit-learn's digits"

    def __len__(self) -> int:
        return len(self._digits.target)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        pixels = np.rint(self._digits.images[index] * (255 / 16)).astype(np.uint8)
        return Image.fromarray(pixels), int(self._digits.target[index])

    def name(self, index: int) -> str:
        """Return a picture's number."""
        return f"digit {index}"

    @functools.cached_property
    def _digits(self) -> Any:
        # Late, since the import takes a second, and is not needed once the digits are in the cache.
        from sklearn.datasets import load_digits  # type: ignore[import-untyped]

        return load_digits()


@functools.cache
def _formats() -> list[str]:
    Image.init()
    with contextlib.suppress(ImportError):
        from pillow_heif import register_heif_opener  # type: ignore[import-not-found]

        register_heif_opener()
    return [name for name in Image.ID if name not in _NOT_PICTURES]


@functools.cache
def _suffixes() -> frozenset[str]:
    formats = set(_formats())
    read = {suffix for suffix, name in Image.registered_extensions().items() if name in formats}
    # MPO, JPEGs of several views, is opened as JPEG: Pillow does not list it among what it opens.
    return frozenset(read | {".mpo"})


def _torchvision_classes() -> dict[str, Any]:
    """Collect the data sets that need nothing but a root."""
    datasets = built_for_torch("torchvision", lambda: importlib.import_module("torchvision.datasets"))
    classes = {}
    for name in datasets.__all__:
        value = getattr(datasets, name)
        if not inspect.isclass(value) or value is datasets.VisionDataset:
            continue
        parameters = inspect.signature(value).parameters.values()
        needed = {
            parameter.name
            for parameter in parameters
            if parameter.default is parameter.empty and parameter.kind is parameter.POSITIONAL_OR_KEYWORD
        }
        if needed == {"root"}:
            classes[name] = value
    return classes
