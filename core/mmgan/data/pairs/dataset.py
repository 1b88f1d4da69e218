"""Pictures of two domains as training data: pairs of pictures, and pictures without pairs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from mmgan.counting import counted
from mmgan.data.dataset import Dataset, Draw
from mmgan.data.image.dataset import Progress
from mmgan.data.image.sources import ImageSource
from mmgan.data.pairs.config import PairConfig
from mmgan.data.pairs.degradations import Derivation, derivation
from mmgan.data.pairs.sources import PictureSource, pair_parts, single_parts, unpaired_parts
from mmgan.data.pairs.stored import Stored
from mmgan.data.tree import list_others, list_skipped


class PairData(Dataset):
    """Pairs of pictures: a network's input, and its target.

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
        """Return pairs, both sides with the same random crop and flip.

        Args:
            indices: int64 (n,).
            draw: Decides the crops and flips.

        Returns:
            A: float32 (n, channels, size, size) in [-1, 1], or as many channels as the derivation gives.
            B: float32 (n, channels, size, size) in [-1, 1].
        """
        return self._pair(self._training.crops(indices, draw), draw)

    def training(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """Return the training pairs ``indices``, int64 (n,), without a crop or a flip."""
        return self._pair(self._training.whole(indices), _fixed(indices))

    def validation(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """Return the validation pairs ``indices``, int64 (n,), without a crop or a flip."""
        return self._pair(self._validation.whole(indices), _fixed(indices))

    def _pair(self, sides: list[Tensor], draw: Draw) -> tuple[Tensor, Tensor]:
        if self.derivation:
            return self.derivation.derive(sides[0], draw)
        return sides[0], sides[1]


class UnpairedData(Dataset):
    """Unpaired pictures of two domains. Its length is that of the larger domain.

    Args:
        training: Pictures of A and of B.
        validation: Pictures of A and of B to validate on. With a derivation they are the same, so that here,
            and only here, A and B are pairs.
        derivation: How A and B are made from different pictures, if they are.
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
        """The number of pictures to validate on, in the smaller domain."""
        return min(map(len, self._validation))

    def batch(self, indices: Tensor, draw: Draw) -> tuple[Tensor, Tensor]:
        """Return A in its order and B at random, each with a random crop and flip of its own.

        Args:
            indices: int64 (n,).
            draw: Decides the crops, flips and partners.

        Returns:
            A: float32 (n, channels, size, size) in [-1, 1], or as many channels as the derivation gives.
            B: float32 (n, channels, size, size) in [-1, 1].
        """
        a, b = self._training
        partners = (draw.uniform("partner") * len(b)).long()
        inputs, targets = a.crops(indices % len(a), draw, "a "), b.crops(partners, draw, "b ")
        return self._a(inputs[0], draw), self._b(targets[0], draw)

    def training_a(self, indices: Tensor) -> Tensor:
        """Return the training pictures ``indices`` of A, int64 (n,), without a crop or a flip."""
        return self._a(self._training[0].whole(indices)[0], _fixed(indices))

    def training_b(self, indices: Tensor) -> Tensor:
        """Return the training pictures ``indices`` of B, int64 (n,), without a crop or a flip."""
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
        progress: Called repeatedly while pictures are decoded, which only happens the first time.

    Raises:
        DataError: There are no pairs, fewer than two can be read, or there are none to validate on.
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

    When made from one domain, A comes from one half of the pictures and B from the other, so that no pair is
    ever seen in training.

    Args:
        open_data: Opens what ``config.data`` names.
        config: Their size and the like.
        progress: Called now and then while pictures are decoded, which only happens the first time.

    Raises:
        DataError: A domain is missing, or too few of its pictures can be read.
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
    # `least` counts one that is held out; with a validation part, 2 are enough.
    training = Stored(parts[0], config, progress, 2 if len(parts) > 1 else least)
    if len(parts) > 1:
        return training, Stored(parts[1], config, progress, least=1)
    # At least one to validate on; at least `least - 1` are left to train on.
    count = min(max(1, round(config.holdout * len(training))), len(training) - (least - 1))
    validation, rest = training.split(count)
    return rest, validation


def _skipped(*parts: Stored) -> list[tuple[str, str]]:
    """Collect what was skipped, once for parts of the same source."""
    return list(dict.fromkeys(item for part in parts for item in part.skipped))


def _describe(counts: str, config: PairConfig, *parts: Stored) -> str:
    """Return a description: how many there are, of what size, and what was skipped."""
    # Two parts that were split from one share its files.
    sources = {part.cached.path: part for part in parts}.values()
    others = list_others(*sources)
    size = f"{config.size}x{config.size}x{config.channels}"
    return f"{counts} at {size}{list_skipped(_skipped(*parts))}{others}"


def _fixed(indices: Tensor) -> Draw:
    """Return a draw with a fixed seed, for results that are the same each time."""
    return Draw(0, torch.zeros_like(indices), indices)
