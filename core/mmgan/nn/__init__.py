"""Layers that several games need."""

from mmgan.nn.conditional import ConditionalBatchNorm, Projection, with_label

__all__ = ["ConditionalBatchNorm", "Projection", "with_label"]
