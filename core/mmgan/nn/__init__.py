"""Layers that several games need."""

from mmgan.nn.conditional import ConditionalBatchNorm, Projection

__all__ = ["ConditionalBatchNorm", "Projection"]
