"""Which pictures are held out of training, to measure on."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mmgan.counting import counted, some
from mmgan.data.tree import printable
from mmgan.errors import DataError

#: Bytes of a hash.
_HASH = 8
#: Fewer pictures than these can neither be trained on nor be measured on.
LEAST = 2


def chosen(rows: Iterable[NDArray[np.uint8]], part: float, seed: int) -> tuple[Tensor, str]:
    """Choose those whose hash, of the pixels and the seed, is smallest.

    So the choice depends neither on names nor on the order, and equal pictures are on the same side: one that
    is there twice is not measured on after it was trained on.

    Args:
        rows: The pixels of each picture.
        part: A share below 1, or a number of pictures. There are more where the last one chosen has equals.
        seed: Another one chooses others.

    Returns:
        bool (pictures,), whether each one is held out; and a text that identifies the choice.
    """
    key = seed.to_bytes(8, "little")
    hashes = [hashlib.blake2b(row.tobytes(), digest_size=_HASH, key=key).digest() for row in rows]
    count = min(len(hashes), max(1, round(part * len(hashes)) if part < 1 else int(part)))
    last = sorted(hashes)[count - 1]
    mark = hashlib.blake2b(b"".join(sorted(hash for hash in hashes if hash <= last)), digest_size=_HASH)
    return torch.tensor([hash <= last for hash in hashes]), mark.hexdigest()


def check_rest(left: int, held: int, part: float, classes: Mapping[str, int]) -> None:
    """Refuse to hold out too much or too little.

    Args:
        left, held: How many are left to train on, and how many are held out.
        part: What was asked for, for the message.
        classes: How many are left of each class, where classes are learned.

    Raises:
        DataError: Fewer than two are left on either side, or none of a class.
    """
    if min(held, left) < LEAST:
        raise DataError(
            f"holdout = {part:g} leaves {counted(left, 'picture')} to train on and {held:,} to measure on: "
            f"at least {LEAST} of each are needed.",
            hint="Hold out another number, or train on more pictures.",
        )
    if lost := [printable(name) for name, count in classes.items() if not count]:
        raise DataError(
            f"holdout = {part:g} leaves no picture to train on of {some(lost)}.",
            hint="Hold out fewer, choose another --seed, or give those classes more pictures.",
        )
