"""Scores in words: how many samples look real, how much of the data they cover, how many are copies."""

from __future__ import annotations

from collections.abc import Mapping

from mmgan.counting import counted
from mmgan.metrics.features import Features
from mmgan.metrics.memorisation import BY_CHANCE

#: Shares below which "0%" would say too much, and above which "100%" would.
_LEAST, _MOST = 0.005, 0.995


def in_words(scores: Mapping[str, float], features: Features, n: int, real: str) -> list[str]:
    """Say what scores in some features mean; what is missing is left out.

    Args:
        scores: The shares that look real and that are copies, of which the greatest counts, and the coverage.
        features: Those that they were computed in.
        n: How many samples were looked at.
        real: What they were compared with, such as ``"1,797 pictures that it was trained on"``.
    """
    said, name, sees = [], features.name, features.sees
    samples = counted(n, "sample")
    if (share := scores.get(f"plausible_{name}")) is not None:
        said.append(f"{round(share * n):,} of {samples} look real")
    if (coverage := scores.get(f"coverage_{name}")) is not None:
        said.append(f"{'they' if said else samples} cover {_share(coverage)} of the data's variety")
    if shares := [share for score, share in scores.items() if score.startswith("copied_")]:
        found = round(max(shares) * n)
        are = "is a copy of a training picture" if found == 1 else "are copies of training pictures"
        said.append(
            f"{found:,}{'' if said else f' of {samples}'} {are} or close to it "
            f"(of new real pictures about {_share(BY_CHANCE)} would be)"
        )
    if not said:
        return []
    text = "; ".join(said)
    seen = f"{name} features" + (f" ({sees})" if sees else "")
    return [
        f"{text[0].upper()}{text[1:]}.",
        f"Measured by {seen}, against {real}. Look at the samples too.",
    ]


def _share(part: float) -> str:
    """Write a share in percent, "all" and "none" only where that is so."""
    if 0 < part < _LEAST:
        return "less than 1%"
    return "more than 99%" if _MOST < part < 1 else f"{part:.0%}"
