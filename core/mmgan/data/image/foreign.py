"""Files that look like pictures to train on, and that are not read."""

from __future__ import annotations

import warnings
from collections import Counter

from mmgan.data.foreign_formats import FOREIGN_PICTURES, advise
from mmgan.data.image.sources import ImageFolder, ImageSource
from mmgan.errors import DataError


def check_foreign(source: ImageSource) -> None:
    """Say what to do about files that look like pictures to train on, and that are not read: by a warning.

    Args:
        source: Only a folder has such files.

    Raises:
        DataError: There are more of them than there are pictures that are read, so that a run would learn
            from something else than was meant.
    """
    foreign: Counter[str] = source.foreign() if isinstance(source, ImageFolder) else Counter()
    if not foreign:
        return
    listed = ", ".join(f"{count:,} {suffix}" for suffix, count in foreign.most_common())
    steps = advise(suffix for suffix, _ in foreign.most_common())
    pictures = sum(count for suffix, count in foreign.items() if suffix in FOREIGN_PICTURES)
    if pictures > len(source) or not len(source):
        raise DataError(
            f"{source} has {len(source):,} pictures that are read, and more files that are not: {listed}.",
            hint=f"{steps[0].upper()}{steps[1:]}; or move them to another folder.",
        )
    warnings.warn(f"{source} has files that are not read: {listed}. To use them, {steps}.", stacklevel=2)
