"""Padding, tiling and blending: a picture of any size comes out as if the function had taken it whole."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from mmgan_translation.tiles import Axis, Pixels, apply, pad

#: Heights and widths: a single pixel, a strip, odd ones, multiples, and more than a tile (32) in each way.
SIZES = [(1, 1), (3, 200), (200, 3), (33, 17), (32, 32), (31, 65), (129, 257), (8, 100), (96, 64)]


def noise(height: int, width: int, planes: int = 3) -> Pixels:
    return np.random.default_rng(height + width).integers(0, 256, (height, width, planes), np.uint8)


def blur(inputs: Tensor) -> Tensor:
    """A convolution that sees 2 pixels far, and black beyond the border."""
    kernel = torch.ones(inputs.shape[1], 1, 5, 5) / 25
    return F.conv2d(F.pad(inputs, (2, 2, 2, 2), value=-1.0), kernel, groups=inputs.shape[1])


def difference(one: Pixels, other: Pixels) -> int:
    assert one.shape == other.shape
    return int(np.abs(one.astype(int) - other).max())


class Spy:
    """Applies a function, and keeps what it was given."""

    def __init__(self, function: Any) -> None:
        self.function, self.shapes = function, []

    def __call__(self, inputs: Tensor) -> Tensor:
        assert inputs.dtype == torch.float32
        assert inputs.abs().max() <= 1
        self.shapes.append(tuple(inputs.shape))
        return self.function(inputs)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("multiple", [1, 4, 16])
def test_a_function_of_single_pixels_needs_no_tiles(size: tuple[int, int], multiple: int) -> None:
    pixels, negative = noise(*size), Spy(torch.neg)
    result = apply(negative, pixels, multiple, tile=32)
    assert result.dtype == np.uint8
    assert difference(result, 255 - pixels) <= 1
    assert all(side % multiple == 0 and side <= 32 for shape in negative.shapes for side in shape[2:])


@pytest.mark.parametrize("size", SIZES)
def test_what_fits_a_tile_is_given_whole_and_comes_back_to_the_bit(size: tuple[int, int]) -> None:
    pixels, same = noise(*size), Spy(lambda inputs: inputs)
    assert (apply(same, pixels, 4, tile=512) == pixels).all()
    assert len(same.shapes) == 1


@pytest.mark.parametrize("size", SIZES)
def test_a_convolution_sees_no_seams(size: tuple[int, int]) -> None:
    pixels = noise(*size)
    whole, tiled = apply(blur, pixels, 8, 1024), apply(blur, pixels, 8, 32)
    assert difference(whole, tiled) <= 1


def test_seams_are_ramps() -> None:
    """Two tiles that disagree are black and white; between them every grey comes, in equal steps."""
    levels = iter([-1.0, 1.0])
    result = apply(lambda inputs: torch.full_like(inputs, next(levels)), noise(56, 8, 1), 4, 32)[:, 0, 0]
    # Of an overlap of 8, a quarter at each end counts for nothing.
    assert (result[:26] == 0).all()
    assert result[26:30].tolist() == [32, 96, 159, 223]
    assert (result[30:] == 255).all()


@pytest.mark.parametrize("scale", [2, 4])
@pytest.mark.parametrize("size", [(1, 1), (5, 90), (70, 33)])
def test_larger_results(size: tuple[int, int], scale: int) -> None:
    pixels = noise(*size)
    grow = Spy(lambda inputs: F.interpolate(inputs, scale_factor=scale, mode="nearest"))
    expected = pixels.repeat(scale, 0).repeat(scale, 1)
    assert difference(apply(grow, pixels, 4, 16, scale), expected) <= 1


def test_another_number_of_planes() -> None:
    result = apply(lambda inputs: inputs[:, 1:2], noise(50, 70), 4, 16)
    assert difference(result, noise(50, 70)[..., 1:2]) <= 1


@pytest.mark.parametrize("size", [(40, 1000), (1000, 40)])
def test_memory_depends_on_the_shorter_side_only(
    size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    largest = 0
    blend = Axis.blend

    def watched(*args: Any, **kwargs: Any) -> Any:
        nonlocal largest
        for band in blend(*args, **kwargs):
            largest = max(largest, band.numel(), band.untyped_storage().nbytes() // 4)
            yield band

    monkeypatch.setattr(Axis, "blend", watched)
    same = Spy(lambda inputs: inputs)
    assert difference(apply(same, noise(*size), 4, 16), noise(*size)) <= 1
    assert {shape[1:] for shape in same.shapes} == {(3, 16, 16)}
    assert largest <= 3 * 16 * 40


def test_values_out_of_range_are_clipped() -> None:
    result = apply(lambda inputs: 3 * inputs, noise(9, 9), 4, 16)
    assert set(np.unique(result[noise(9, 9) > 180])) == {255}


@pytest.mark.parametrize("multiple", [1, 4, 128])
def test_tiles_cover_every_length_and_their_weights_sum_to_one(multiple: int) -> None:
    for tile in (2, 3, 5, 8):
        for length in range(1, 40):
            axis = Axis(length * multiple, multiple, tile * multiple)
            starts = axis.starts
            assert starts[0] == 0
            assert starts[-1] + axis.side == axis.length
            assert all(start % multiple == 0 for start in starts)
            gaps = [after - before for before, after in pairwise(starts)]
            assert all(0 < gap <= axis.side * 3 / 4 for gap in gaps)
            total = torch.zeros(axis.length)
            for start, weights in zip(starts, axis.weights(), strict=True):
                total[start : start + axis.side] += weights
            assert torch.allclose(total, torch.ones(()))


def test_padding_reflects_where_it_can_and_repeats_the_edge_where_not() -> None:
    padded, top, left = pad(np.arange(12, dtype=np.uint8).reshape(6, 2, 1), 8)
    assert (top, left) == (1, 3)
    assert padded[:, 3, 0].tolist() == [2, 0, 2, 4, 6, 8, 10, 8]
    assert padded[1, :, 0].tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
