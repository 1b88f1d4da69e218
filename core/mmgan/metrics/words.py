"""Scores in words: how many samples look real, how much of the data they cover, how many are copies."""

from __future__ import annotations

from collections.abc import Mapping

from mmgan.counting import counted
from mmgan.metrics.features import Features

#: Shares of the data below which "0%" would say too much, and above which "100%" would.
_LEAST, _MOST = 0.005, 0.995


def in_words(
    scores: Mapping[str, float],
    features: Features,
    generated: int,
    real: str,
    copies: tuple[int, int] | None = None,
    hope: float | None = None,
) -> list[str]:
    """Say what scores in some features mean; what is missing is left out.

    Args:
        scores: Precision and coverage are read.
        features: Those that they were computed in.
        generated: How many samples were scored.
        real: What they were compared with, such as ``"the 1,797 pictures that were trained on"``.
        copies: How many samples are copies, and of how many; None where that is not known.
        hope: The precision of new real pictures.
    """
    said, name, sees = [], features.name, features.sees
    if (precision := scores.get(f"precision_{name}")) is not None:
        look = f"{round(precision * generated):,} of {counted(generated, 'sample')} look real"
        said.append(look if hope is None else f"{look} (of new real ones {_share(hope)} would)")
    if (coverage := scores.get(f"coverage_{name}")) is not None:
        said.append(f"{'they' if said else 'the samples'} cover {_share(coverage)} of the data's variety")
    if copies is not None:
        found, among = copies
        of = "" if said and among == generated else f" of {counted(among, 'sample')}"
        verb = "is a copy of a training picture" if found == 1 else "are copies of training pictures"
        said.append(f"{found or 'none'}{of} {verb}, or nearly so")
    if not said:
        return []
    text = "; ".join(said)
    told = f"by {name} features" + (f" ({sees})" if sees else "")
    return [
        f"{text[0].upper()}{text[1:]}.",
        f"That is {told}, against {real}; look at the samples too.",
    ]


def _share(part: float) -> str:
    """Write a share in percent, "all" and "none" only where that is so."""
    if 0 < part < _LEAST:
        return "less than 1%"
    return "more than 99%" if _MOST < part < 1 else f"{part:.0%}"
