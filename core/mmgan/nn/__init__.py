"""Layers that several games need."""

from mmgan.nn.conditional import ConditionalBatchNorm, Projection, with_label
from mmgan.nn.minibatch import MinibatchStddev
from mmgan.nn.spectral import spectral

__all__ = ["ConditionalBatchNorm", "MinibatchStddev", "Projection", "spectral", "with_label"]
