"""Changes of geometry against NumPy's and SciPy's, and the filters against what defines them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.ndimage import affine_transform, gaussian_filter
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck
from torch.nn.functional import grid_sample

from mmgan.augment.matrices import product, rotation, scaling, translation
from mmgan.augment.resampling import (
    BILINEAR,
    NEAREST,
    REFLECTION,
    ZEROS,
    _anyhow,
    _straight,
    moved,
    read,
    warped,
)
from mmgan.augment.wavelets import LAG, SYM2, SYM6, band_matrices, down_matrix, up_matrix

Array = NDArray[np.float64]


def smooth(height: int, width: int, sigma: float = 3.0, seed: int = 0) -> Array:
    """Return a picture in [-1, 1] without detail, so that all ways of interpolating agree."""
    noise = np.random.default_rng(seed).normal(size=(height, width))
    picture = gaussian_filter(noise, sigma, mode="reflect")
    return picture / np.abs(picture).max()


def one(value: float) -> Tensor:
    return torch.tensor([value], dtype=torch.float64)


def turn(angle: float) -> Tensor:
    return rotation(one(math.cos(angle)), one(math.sin(angle)))


def as_batch(picture: Array) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(picture))[None, None]


def by_scipy(picture: Array, inverse: Tensor) -> Array:
    """Read a picture by splines, around its centre; SciPy counts (row, column), and mirrors by "reflect"."""
    matrix = inverse[0].numpy()[:2, :2][::-1, ::-1]
    centre = (np.array(picture.shape) - 1) / 2
    offset = centre - matrix @ centre + inverse[0].numpy()[:2, 2][::-1]
    found: Array = affine_transform(picture, matrix, offset, order=3, mode="reflect")
    return found


@pytest.mark.parametrize(("height", "width"), [(32, 32), (31, 33), (28, 40)])
@pytest.mark.parametrize(
    ("scale", "stretch", "before", "after", "x", "y"),
    [
        (1, 1, 0.4, 0, 0, 0),
        (1.2, 1, 0, 0, 0, 0),
        (0.8, 1, 0, 0, 2.3, -1.6),
        (1, 1.25, 0.5, -1.2, 0, 0),
        (0.9, 0.85, 2.5, 0.3, -3.2, 4.9),
        (1.1, 1, math.pi, 0, 0.5, 0.25),
    ],
)
def test_warps_are_scipy_s(
    height: int, width: int, scale: float, stretch: float, before: float, after: float, x: float, y: float
) -> None:
    inverse = product(
        scaling(one(1 / scale), one(1 / scale)),
        turn(-before),
        scaling(one(1 / stretch), one(stretch)),
        turn(-after),
        translation(one(-x), one(-y)),
    )
    picture = smooth(height, width)
    framed = picture * np.outer(np.hanning(height), np.hanning(width))
    # Mirrored edges are creases, at which interpolations differ; a picture that fades out has none.
    for shown, most, mean in ((framed, 0.05, 0.003), (picture, 0.2, 0.02)):
        found = warped(as_batch(shown), inverse)[0, 0].numpy()
        difference = np.abs(found - by_scipy(shown, inverse))
        assert difference.max() < most
        assert difference.mean() < mean


def test_both_ways_of_warping_agree() -> None:
    torch.manual_seed(0)
    pictures = torch.randn(8, 3, 20, 27, dtype=torch.float64)
    scale = torch.rand(8, dtype=torch.float64) * 2 + 0.3
    shift = torch.randn(8, dtype=torch.float64) * 30
    inverse = product(scaling(scale, 1 / scale), translation(shift, -2 * shift))
    torch.testing.assert_close(_anyhow(pictures, inverse), _straight(pictures, inverse))
    # A picture that is turned takes another way than its neighbours.
    inverse[1] = product(inverse, turn(0.3))[1]
    torch.testing.assert_close(warped(pictures, inverse), _anyhow(pictures, inverse))


def test_an_untouched_picture_comes_back() -> None:
    """The filter is orthogonal: up and down again is nothing, but for the mirrored edges."""
    picture = torch.randn(1, 1, 24, 24, dtype=torch.float64)
    inverse = torch.eye(3, dtype=torch.float64)[None]
    inside = (..., slice(6, -6), slice(6, -6))
    torch.testing.assert_close(warped(picture, inverse)[inside], picture[inside], atol=1e-10, rtol=0)
    flat = torch.full((1, 1, 9, 7), 0.3, dtype=torch.float64)
    torch.testing.assert_close(warped(flat, inverse), flat)


def test_detail_that_would_alias_is_filtered_out() -> None:
    """A checkerboard of single pixels, made half as large, is grey; reading single points would alias."""
    rows, columns = np.indices((32, 32))
    board = as_batch((-1.0) ** (rows + columns))
    half = scaling(one(1.9), one(1.9))
    assert warped(board, half)[..., 8:-8, 8:-8].abs().max() < 0.2
    assert moved(board, half).abs().mean() == 1


@pytest.mark.parametrize("shape", [(8, 8), (9, 9), (7, 10)])
@pytest.mark.parametrize(("x", "y"), [(2, 0), (0, -3), (-1, 2)])
def test_whole_pixels_are_moved_exactly(shape: tuple[int, int], x: int, y: int) -> None:
    picture = np.random.default_rng(1).normal(size=shape)
    inverse = translation(one(-x), one(-y))
    height, width = shape
    around = 3
    for outside, mode in ((REFLECTION, "symmetric"), (ZEROS, "constant")):
        wide = np.pad(picture, around, mode=mode)  # type: ignore[call-overload]
        expected = wide[around - y : around - y + height, around - x : around - x + width]
        assert np.array_equal(moved(as_batch(picture), inverse, outside)[0, 0].numpy(), expected)


@pytest.mark.parametrize("side", [8, 9])
def test_flips_and_turns_are_exact(side: int) -> None:
    picture = np.random.default_rng(1).normal(size=(side, side))
    flip = scaling(one(-1), one(1))
    assert np.array_equal(moved(as_batch(picture), flip)[0, 0].numpy(), picture[:, ::-1])
    for turns in range(4):
        inverse = rotation(
            one(round(math.cos(turns * math.pi / 2))), one(round(math.sin(turns * math.pi / 2)))
        )
        # The inverse turns clockwise, and so what is seen turns the other way.
        assert np.array_equal(moved(as_batch(picture), inverse)[0, 0].numpy(), np.rot90(picture, turns))


@pytest.mark.parametrize("mode", [BILINEAR, NEAREST])
@pytest.mark.parametrize("outside", [ZEROS, REFLECTION])
def test_reading_is_torch_s_and_can_be_differentiated_twice(mode: int, outside: int) -> None:
    torch.manual_seed(0)
    pictures = torch.randn(2, 2, 4, 5, dtype=torch.float64, requires_grad=True)
    places = torch.randn(2, 3, 4, 2, dtype=torch.float64)
    names: Any = {BILINEAR: "bilinear", NEAREST: "nearest", ZEROS: "zeros", REFLECTION: "reflection"}
    modes = (
        "bilinear" if mode == BILINEAR else "nearest",
        "zeros" if outside == ZEROS else names[REFLECTION],
    )
    theirs = grid_sample(pictures, places, modes[0], modes[1], align_corners=False)
    torch.testing.assert_close(read(pictures, places, mode, outside), theirs)
    assert gradcheck(lambda x: read(x, places, mode, outside), pictures)
    assert gradgradcheck(lambda x: read(x, places, mode, outside) ** 3, pictures)


@pytest.mark.parametrize(("taps", "moments"), [(SYM6, 6), (SYM2, 2)])
def test_the_filters_are_what_defines_them(taps: Array, moments: int) -> None:
    """Orthonormal to their own shifts by two, and blind to polynomials: so Daubechies defines them."""
    for shift in range(len(taps) // 2):
        overlap = float(taps[2 * shift :] @ taps[: len(taps) - 2 * shift])
        assert overlap == pytest.approx(float(shift == 0), abs=1e-10)
    assert taps.sum() == pytest.approx(2**0.5)
    place = np.arange(len(taps)) - (len(taps) - 1) / 2
    for moment in range(moments):
        assert ((-1.0) ** np.arange(len(taps)) * taps * place**moment).sum() == pytest.approx(0, abs=1e-7)


def test_of_the_filters_with_six_moments_it_is_the_most_symmetric() -> None:
    place = np.arange(len(SYM6)) - (len(SYM6) - 1) / 2
    middle = float((SYM6 * place).sum() / SYM6.sum())
    assert middle == pytest.approx(LAG)
    assert abs(middle) < 0.5
    assert up_matrix(8).shape == (16, 8)
    assert down_matrix(8).shape == (8, 26)
    # A grey side stays grey at twice the resolution.
    np.testing.assert_allclose(up_matrix(5).sum(1), 1)
    np.testing.assert_allclose(down_matrix(5).sum(1), 1)


def test_bands_are_those_of_a_spectrum() -> None:
    """A mirrored side is a period of 2n: there a filter multiplies frequencies by its response."""
    n = 32
    signal = np.random.default_rng(3).normal(size=n)
    spectrum = np.fft.fft(np.concatenate([signal, signal[::-1]]))
    angle = 2 * math.pi * np.arange(2 * n) / (2 * n)

    def low(times: int) -> Array:
        response = sum(tap * np.exp(-1j * angle * times * k) for k, tap in enumerate(SYM2))
        return np.asarray(np.abs(response) ** 2 / 2)

    expected = [
        low(1) * low(2) * low(4),
        low(1) * low(2) * (1 - low(4)),
        low(1) * (1 - low(2)),
        1 - low(1),
    ]
    bands = band_matrices(n, torch.device("cpu"), torch.float64).numpy()
    for band, response in zip(bands, expected, strict=True):
        np.testing.assert_allclose(band @ signal, np.fft.ifft(spectrum * response).real[:n], atol=1e-12)
    np.testing.assert_allclose(bands.sum(0), np.eye(n), atol=1e-12)
    # Short sides are mirrored more than once.
    np.testing.assert_allclose(
        band_matrices(3, torch.device("cpu"), torch.float64).sum(0), np.eye(3), atol=1e-12
    )
