"""Pictures of two domains as training data: their settings, pairs of pictures, and pictures without pairs."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import PIL
import torch
from numpy.typing import NDArray
from PIL import ImageColor
from pydantic import Field, field_validator, model_validator
from torch import Tensor

from mmgan.counting import counted
from mmgan.data.cache import CachedArray, are_skipped, cache_key, cached_array
from mmgan.data.dataset import Dataset, Draw
from mmgan.data.image.dataset import ImageConfig, Progress, decode_all, to_float
from mmgan.data.image.sources import ImageSource
from mmgan.data.image.squares import VERSION, Decoder
from mmgan.data.pairs.degradations import Derivation, derivation
from mmgan.data.pairs.sources import Decode, PictureSource, pair_parts, single_parts, unpaired_parts
from mmgan.data.tree import list_others, list_skipped

# What a thread may decode before it is written: pairs of 256x256, at both sizes, are 1 MB each.
_SHARE_BYTES = 16_000_000
_VALIDATION_HINT = (
    "Put pictures there, or take the folder away: then some are kept out of training to validate on."
)


class PairConfig(ImageConfig):
    """The settings of a task that turns pictures of a domain A into those of a domain B."""

    flip: bool = Field(
        True, description="mirror pictures from left to right, half of the times, and pairs alike"
    )
    load_size: int = Field(
        0,
        ge=0,
        description="side that pictures are scaled to before a random crop of `size`; "
        "0: 286/256 of size, as in pix2pix; equal to size: no crop",
    )
    data_b: str = Field(
        "", description="the folder of domain B, where `data` has the pictures of domain A only"
    )
    derive: Literal["none", "edges", "colorize", "superres", "inpaint", "denoise", "recolor"] = Field(
        "none", description="make pairs from single pictures: what the network is to turn back into a picture"
    )
    superres_scale: Literal[2, 4, 8] = Field(4, description="derive = superres: how many times larger")
    noise: float = Field(
        0.5, gt=0, le=2, description="derive = denoise: greatest deviation, of pictures from -1 to 1"
    )
    holdout: float = Field(
        0.05, gt=0, lt=1, description="part of the pictures to validate on, where the data has no such part"
    )

    @property
    def side_before_crop(self) -> int:
        """The side of the square that the random crop is taken from, in pixels."""
        return self.load_size or round(self.size * 286 / 256)

    @property
    def sizes(self) -> tuple[int, ...]:
        """The sides that pictures are kept at: before the crop and, where that differs, after it."""
        return tuple(sorted({self.side_before_crop, self.size}, reverse=True))

    @field_validator("data_b")
    @classmethod
    def _b_wherever_it_is_resumed(cls, value: str) -> str:
        return str(Path(os.path.expanduser(value)).absolute()) if value else ""

    @model_validator(mode="after")
    def _agree(self) -> PairConfig:
        if self.side_before_crop < self.size:
            raise ValueError(
                f"load_size = {self.load_size} is less than size = {self.size}, which is cut out of it: "
                "give at least as much, or 0"
            )
        if self.data_b and self.derive != "none":
            raise ValueError(
                f"derive = {self.derive!r} makes both sides from data alone, so data_b must be empty"
            )
        return self


class Stored:
    """Single pictures or pairs in the cache: to be cropped from, and once more at their final size.

    What can't be read is skipped, counted and named.

    Args:
        source: Where they come from.
        config: Their sizes and the like.
        progress: Called now and then while they are decoded, which only happens the first time.
        least: How many are needed: 1 to validate on.

    Raises:
        DataError: There are fewer.
    """

    def __init__(
        self, source: PictureSource, config: PairConfig, progress: Progress | None = None, least: int = 2
    ) -> None:
        # Both sizes lie in one row, so that each picture is decoded once.
        sizes = config.sizes
        look = [VERSION, sizes, config.channels, config.crop, ImageColor.getrgb(config.background)]
        hint = source.hint if least > 1 else _VALIDATION_HINT
        row = source.sides * config.channels * sum(size**2 for size in sizes)
        share = max(1, min(64, _SHARE_BYTES // row))

        def rows(metadata: dict[str, Any]) -> Iterator[NDArray[np.uint8]]:
            skipped = metadata["skipped"] = list(source.missing)
            metadata["content"] = source.content
            with Decoder(source.look) as decoder:

                def convert(decode: Decode) -> NDArray[np.uint8]:
                    return np.concatenate([square.reshape(-1) for square in decode(decoder)])

                yield from decode_all(
                    source, convert, progress, skipped, what=source.what, least=least, hint=hint, share=share
                )

        def fits(entry: CachedArray) -> bool:
            array, skipped = entry.array, entry.metadata.get("skipped")
            fitting = array.dtype == np.uint8 and array.shape[1:] == (row,)
            return fitting and are_skipped(skipped) and isinstance(entry.metadata.get("content"), str)

        #: The rows, and what was skipped.
        self.cached = cached_array(cache_key("pairs", PIL.__version__, *source.key, *look), rows, fits)
        self._rows = np.arange(len(self.cached.array))
        self._flip = config.flip
        self._large, self._small = sizes[0], sizes[-1]
        self._shape = source.sides, config.channels
        #: Tells equal pictures wherever they lie.
        self.content: str = self.cached.metadata["content"]
        #: The name of each one that was skipped, and why.
        self.skipped = [(str(name), str(why)) for name, why in self.cached.metadata["skipped"]]
        #: How many files were passed over because of their suffixes, and the same by suffix.
        self.others, self.endings = source.others, source.endings

    def __len__(self) -> int:
        return len(self._rows)

    def split(self, count: int) -> tuple[Stored, Stored]:
        """Take ``count`` of them at random, always the same ones, and the rest; both in their old order."""
        order = torch.randperm(len(self), generator=torch.Generator().manual_seed(0)).numpy()
        parts = copy.copy(self), copy.copy(self)
        for part, chosen in zip(parts, (order[:count], order[count:]), strict=True):
            part._rows = self._rows[np.sort(chosen)]
        return parts

    def whole(self, indices: Tensor) -> list[Tensor]:
        """Return pictures as they are: of each side float32 (n, channels, size, size) in [-1, 1]."""
        sides, channels = self._shape
        length = sides * channels * self._small**2
        pixels = self.cached.array[self._rows[indices.numpy()], -length:]
        shape = (len(indices), sides, channels, self._small, self._small)
        return [to_float(side) for side in pixels.reshape(shape).swapaxes(0, 1)]

    def crops(self, indices: Tensor, draw: Draw, name: str = "") -> list[Tensor]:
        """Return random crops, mirrored or not, the same for all sides of a pair; else like :meth:`whole`.

        Args:
            indices: int64 (n,).
            draw: Says where to crop and what to mirror.
            name: Sets these crops apart from others by the same draw.
        """
        sides, channels = self._shape
        shape = (sides, channels, self._large, self._large)
        corners = draw.uniform(f"{name}crop", 2).numpy() * (self._large - self._small + 1)
        mirrored = draw.uniform(f"{name}flip").numpy() < (0.5 if self._flip else 0)
        pixels = np.empty((len(indices), sides, channels, self._small, self._small), dtype=np.uint8)
        rows = self._rows[indices.numpy()]
        for crop, row, (top, left), mirror in zip(
            pixels, rows, corners.astype(int).tolist(), mirrored, strict=True
        ):
            # Of a mapped file: nothing is read but the crop's own lines.
            large = self.cached.array[row, : sides * channels * self._large**2].reshape(shape)
            cut = large[..., top : top + self._small, left : left + self._small]
            crop[:] = cut[..., ::-1] if mirror else cut
        return [to_float(side) for side in pixels.swapaxes(0, 1)]


class PairData(Dataset):
    """Pairs of pictures: what a network is given, and what it should make of it.

    Args:
        training: Pairs, or single pictures where there is a derivation.
        validation: The same, to validate on.
        derivation: How pairs are made from single pictures, if they are.
        description: See :attr:`description`.
    """

    def __init__(
        self, training: Stored, validation: Stored, derivation: Derivation | None, description: str
    ) -> None:
        self._training = training
        self._validation = validation
        #: How pairs are made from single pictures; None where the data has pairs.
        self.derivation = derivation
        #: The name of each pair or picture that was skipped, and why.
        self.skipped = _skipped(training, validation)
        self.fingerprint = training.content
        self.description = description

    def __len__(self) -> int:
        return len(self._training)

    @property
    def validation_count(self) -> int:
        """The number of pairs to validate on."""
        return len(self._validation)

    def batch(self, indices: Tensor, draw: Draw) -> tuple[Tensor, Tensor]:
        """Return pairs, both sides with the same random crop and mirrored alike.

        Returns:
            A: float32 (n, channels, size, size) in [-1, 1], or as many channels as the derivation gives.
            B: float32 (n, channels, size, size) in [-1, 1].
        """
        return self._pair(self._training.crops(indices, draw), draw)

    def training(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """Return pairs of the training part, always the same: as :meth:`batch`, but whole."""
        return self._pair(self._training.whole(indices), _fixed(indices))

    def validation(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """Return pairs to validate on, always the same: as :meth:`batch`, but whole."""
        return self._pair(self._validation.whole(indices), _fixed(indices))

    def _pair(self, sides: list[Tensor], draw: Draw) -> tuple[Tensor, Tensor]:
        if self.derivation:
            return self.derivation.derive(sides[0], draw)
        return sides[0], sides[1]


class UnpairedData(Dataset):
    """Pictures of two domains that don't belong together. There are as many as in the larger domain.

    Args:
        training: Pictures of A and of B.
        validation: Pictures of A and of B to validate on. With a derivation: the same ones, so that here, and
            only here, A and B are pairs.
        derivation: How A is made from pictures, and B from others, if they are.
        description: See :attr:`description`.
    """

    def __init__(
        self,
        training: tuple[Stored, Stored],
        validation: tuple[Stored, Stored],
        derivation: Derivation | None,
        description: str,
    ) -> None:
        self._training = training
        self._validation = validation
        #: How the two domains are made from single pictures; None where the data has both.
        self.derivation = derivation
        #: The name of each picture that was skipped, and why.
        self.skipped = _skipped(*training, *validation)
        self.fingerprint = " ".join(part.content for part in training)
        self.description = description

    def __len__(self) -> int:
        return max(self.count_a, self.count_b)

    @property
    def count_a(self) -> int:
        """The number of pictures of domain A to train on."""
        return len(self._training[0])

    @property
    def count_b(self) -> int:
        """The number of pictures of domain B to train on."""
        return len(self._training[1])

    @property
    def validation_count(self) -> int:
        """The number of pictures to validate on, in the domain that has fewer."""
        return min(map(len, self._validation))

    def batch(self, indices: Tensor, draw: Draw) -> tuple[Tensor, Tensor]:
        """Return A in its order and B at random, each with a crop of its own and mirrored on its own.

        Returns:
            A: float32 (n, channels, size, size) in [-1, 1], or as many channels as the derivation gives.
            B: float32 (n, channels, size, size) in [-1, 1].
        """
        a, b = self._training
        partners = (draw.uniform("partner") * len(b)).long()
        inputs, targets = a.crops(indices % len(a), draw, "a "), b.crops(partners, draw, "b ")
        return self._a(inputs[0], draw), self._b(targets[0], draw)

    def training_a(self, indices: Tensor) -> Tensor:
        """Return whole pictures of A from the training part, always the same."""
        return self._a(self._training[0].whole(indices)[0], _fixed(indices))

    def training_b(self, indices: Tensor) -> Tensor:
        """Return whole pictures of B from the training part, always the same."""
        return self._b(self._training[1].whole(indices)[0], _fixed(indices))

    def validation(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """Return whole pictures of A and B to validate on, always the same.

        Args:
            indices: int64 (n,), taken modulo the number of pictures in each domain.
        """
        a, b = (part.whole(indices % len(part))[0] for part in self._validation)
        return self._a(a, _fixed(indices)), self._b(b, _fixed(indices))

    def _a(self, pictures: Tensor, draw: Draw) -> Tensor:
        return self.derivation.derive(pictures, draw)[0] if self.derivation else pictures

    def _b(self, pictures: Tensor, draw: Draw) -> Tensor:
        return self.derivation.derive(pictures, draw)[1] if self.derivation else pictures


def open_pairs(
    open_data: Callable[[], ImageSource], config: PairConfig, progress: Progress | None = None
) -> PairData:
    """Open pairs of pictures, or make them from single ones.

    Args:
        open_data: Opens what ``config.data`` names.
        config: Their size and the like.
        progress: Called now and then while pictures are decoded, which only happens the first time.

    Raises:
        DataError: There are no pairs, fewer than two can be read, or none to validate on.
        ConfigError: The derivation and other settings don't agree.
    """
    made = derivation(config) if config.derive != "none" else None
    parts = single_parts(open_data(), config) if made else pair_parts(open_data(), config)
    training, validation = _open(parts, config, progress)
    kind = f"{config.derive} from single pictures" if made else parts[0].what.removeprefix("pair ")
    counts = f"{counted(len(training), 'pair')} ({kind}) and {len(validation):,} to validate on"
    return PairData(training, validation, made, _describe(counts, config, training, validation))


def open_unpaired(
    open_data: Callable[[], ImageSource], config: PairConfig, progress: Progress | None = None
) -> UnpairedData:
    """Open the pictures of two domains, or make them from those of one.

    Made from one, A comes from one half of the pictures and B from the other, so that no pair is ever seen in
    training.

    Args:
        open_data: Opens what ``config.data`` names.
        config: Their size and the like.
        progress: Called now and then while pictures are decoded, which only happens the first time.

    Raises:
        DataError: There are no two domains, or too few pictures of one can be read.
        ConfigError: The derivation and other settings don't agree.
    """
    if config.derive != "none":
        made = derivation(config)
        # One for A, one for B, and one to validate on.
        both, validation = _open(single_parts(open_data(), config), config, progress, least=3)
        a, b = both.split(-(-len(both) // 2))
        validation_a = validation_b = validation
    else:
        made = None
        parts_a, parts_b = unpaired_parts(open_data(), config)
        a, validation_a = _open(parts_a, config, progress)
        b, validation_b = _open(parts_b, config, progress)
    counts = (
        f"{counted(len(a), 'picture')} of A and {len(b):,} of B"
        f"{f' ({config.derive} from single pictures)' if made else ''}, "
        f"{len(validation_a):,} and {len(validation_b):,} to validate on"
    )
    description = _describe(counts, config, a, b, validation_a, validation_b)
    return UnpairedData((a, b), (validation_a, validation_b), made, description)


def _open(
    parts: Sequence[PictureSource], config: PairConfig, progress: Progress | None, least: int = 2
) -> tuple[Stored, Stored]:
    """Decode what to train on and what to validate on, or keep some of the former out for the latter."""
    # One of them is only to be kept out, where the data has no part to validate on.
    training = Stored(parts[0], config, progress, 2 if len(parts) > 1 else least)
    if len(parts) > 1:
        return training, Stored(parts[1], config, progress, least=1)
    # At least one on each side, and as many to train on as are needed without a part to validate on.
    count = min(max(1, round(config.holdout * len(training))), len(training) - (least - 1))
    validation, rest = training.split(count)
    return rest, validation


def _skipped(*parts: Stored) -> list[tuple[str, str]]:
    """Collect what was skipped, once where several are parts of one."""
    return list(dict.fromkeys(item for part in parts for item in part.skipped))


def _describe(counts: str, config: PairConfig, *parts: Stored) -> str:
    """Say how many there are, of what size, and what was skipped or passed over."""
    # Two that were split from one share its files.
    sources = {part.cached.path: part for part in parts}.values()
    others = list_others(*sources)
    size = f"{config.size}x{config.size}x{config.channels}"
    return f"{counts} at {size}{list_skipped(_skipped(*parts))}{others}"


def _fixed(indices: Tensor) -> Draw:
    """Give the randomness of what must be the same each time."""
    return Draw(0, torch.zeros_like(indices), indices)
