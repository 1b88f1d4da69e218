"""Pairs of pictures as data, or pictures of two domains without pairs."""

from __future__ import annotations

from mmgan.data.pairs.config import PairConfig
from mmgan.data.pairs.dataset import PairData, UnpairedData, open_pairs, open_unpaired

__all__ = ["PairConfig", "PairData", "UnpairedData", "open_pairs", "open_unpaired"]
