"""Samples that tasks generate, with methods that save them and show them in TensorBoard.

A new modality is one more subclass of :class:`Samples`.
"""

from mmgan.samples.audio import AudioSamples
from mmgan.samples.base import Samples
from mmgan.samples.images import ImageSamples
from mmgan.samples.points import PointSamples
from mmgan.samples.text import TextSamples, Tradeoff

__all__ = ["AudioSamples", "ImageSamples", "PointSamples", "Samples", "TextSamples", "Tradeoff"]
