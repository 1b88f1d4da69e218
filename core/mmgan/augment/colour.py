"""Colours, changed by one affine map for each picture."""

from __future__ import annotations

import torch
from torch import Tensor


def recoloured(
    pictures: Tensor, brightness: Tensor, contrast: Tensor, flip: Tensor, hue: Tensor, saturation: Tensor
) -> Tensor:
    """Change the colours of pictures, in this order (Karras et al. 2020, appendix B).

    All five steps are about the grey axis (1, 1, 1) and commute in the plane across it. So together they are
    one affine map: along the axis the factor ``contrast`` and a sign; across it ``contrast · saturation`` and
    a rotation.

    Args:
        pictures: (B, C, H, W); of grey ones, with one channel, the last two change nothing.
        brightness: What is added, (B,).
        contrast: A factor, (B,).
        flip: Whether bright becomes dark and the hue stays, bool (B,).
        hue: An angle by which colours turn around the grey axis, in radians, (B,).
        saturation: A factor on the distance from grey, (B,).
    """
    along = torch.where(flip, -contrast, contrast)
    offset = (along * brightness)[:, None, None, None]
    if pictures.shape[1] == 1:
        return pictures * along[:, None, None, None] + offset
    one = torch.eye(3, device=pictures.device, dtype=pictures.dtype)
    axis = torch.full_like(one, 1 / 3)
    turn = (one.roll(1, 0) - one.roll(1, 1)) / 3**0.5
    across = contrast * saturation
    matrix = (
        along[:, None, None] * axis
        + (across * hue.cos())[:, None, None] * (one - axis)
        + (across * hue.sin())[:, None, None] * turn
    )
    return (matrix @ pictures.flatten(2)).view_as(pictures) + offset
