"""Colours, squares and coins of ADA and DiffAugment, against references computed in loops and by SciPy."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from mmgan.augment import POLICIES, Ada, AugmentConfig, DiffAugment, ada, diffaugment
from mmgan.augment.colour import recoloured
from mmgan.augment.cutting import cut_out
from mmgan.augment.wavelets import band_matrices
from mmgan.errors import ConfigError

Array = NDArray[np.float64]
GREY = np.ones(3) / math.sqrt(3)


def config(**settings: Any) -> AugmentConfig:
    return AugmentConfig(plugin="dcgan", **settings)


def pictures(n: int, channels: int = 3, height: int = 8, width: int = 8) -> Tensor:
    return torch.rand(n, channels, height, width, dtype=torch.float64) * 2 - 1


def p(value: float) -> Tensor:
    return torch.tensor(value)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


# --- Colours ---


def step_by_step(
    pixel: Array, brightness: float, contrast: float, flip: bool, hue: float, saturation: float
) -> Array:
    """Change one pixel, a change after the other, as the paper lists them."""
    pixel = pixel + brightness
    pixel = pixel * contrast
    if flip:
        pixel = pixel - 2 * GREY * (GREY @ pixel)
    pixel = Rotation.from_rotvec(hue * GREY).apply(pixel)
    luma = GREY * (GREY @ pixel)
    return np.asarray(luma + saturation * (pixel - luma))


AMOUNTS = [
    (0.3, 1, False, 0, 1),
    (0, 1.7, False, 0, 1),
    (0.1, 1, True, 0, 1),
    (0, 1, False, 1.1, 1),
    (0, 1, False, -2.5, 1),
    (0, 1, False, 0, 0),
    (0, 1, False, 0, 2.4),
    (-0.2, 0.6, True, 2.0, 1.5),
]


def amounts_of_all() -> list[Tensor]:
    columns = zip(*AMOUNTS, strict=True)
    kinds = (torch.float64, torch.float64, torch.bool, torch.float64, torch.float64)
    return [torch.tensor(column, dtype=kind) for column, kind in zip(columns, kinds, strict=True)]


def test_colours_are_changed_as_step_by_step() -> None:
    given = pictures(len(AMOUNTS), 3, 2, 3)
    found = recoloured(given, *amounts_of_all()).numpy()
    for n, amounts in enumerate(AMOUNTS):
        for y, x in itertools.product(range(2), range(3)):
            expected = step_by_step(given[n, :, y, x].numpy(), *amounts)
            np.testing.assert_allclose(found[n, :, y, x], expected, atol=1e-12)


def test_grey_pictures_are_changed_as_the_mean_of_three_equal_channels() -> None:
    given = pictures(len(AMOUNTS), 1, 2, 3)
    amounts = amounts_of_all()
    in_colour = recoloured(given.expand(-1, 3, -1, -1), *amounts)
    torch.testing.assert_close(recoloured(given, *amounts), in_colour.mean(1, keepdim=True))


def test_a_third_of_a_turn_of_hue_exchanges_channels() -> None:
    one, no = torch.ones(1, dtype=torch.float64), torch.tensor([False])
    given = pictures(1)
    found = recoloured(given, 0 * one, one, no, one * 2 * math.pi / 3, one)
    torch.testing.assert_close(found, given.roll(1, 1))


# --- Squares ---


@pytest.mark.parametrize(
    "corners", [(0, 2, 0, 3), (-1.5, 1.5, 3, 9), (2, 2, 0, 9), (3.0, 4.2, -7, 0), (-9, 99, 4, 5)]
)
def test_what_is_cut_out(corners: tuple[float, float, float, float]) -> None:
    given = pictures(1, 2, 5, 7)
    expected = given.clone()
    top, bottom, left, right = corners
    for row, column in itertools.product(range(5), range(7)):
        if top <= row < bottom and left <= column < right:
            expected[:, :, row, column] = 0
    assert torch.equal(cut_out(given, *(torch.tensor([corner]) for corner in corners)), expected)


# --- DiffAugment ---


def test_diffaugment_s_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    given = pictures(3, 3, 4, 5)
    drawn = [torch.tensor(d, dtype=torch.float64) for d in ([0.2, -0.4, 0], [1.5, 0, 1], [0.7, 1, 1.4])]
    ranges: list[tuple[float, float]] = []

    def draw(examples: Tensor, low: float, high: float) -> Tensor:
        ranges.append((low, high))
        return drawn[len(ranges) - 1]

    monkeypatch.setattr(diffaugment, "uniform", draw)
    found = DiffAugment(config(augment_policy="color", augment="diffaugment")).see(given, p(0)).numpy()
    assert ranges == [(-0.5, 0.5), (0, 2), (0.5, 1.5)]
    for n, picture in enumerate(given.numpy()):
        brightness, saturation, contrast = (float(d[n]) for d in drawn)
        expected = picture + brightness
        for y, x in itertools.product(range(4), range(5)):
            grey = expected[:, y, x].sum() / 3
            expected[:, y, x] = (expected[:, y, x] - grey) * saturation + grey
        mean = expected.sum() / expected.size
        np.testing.assert_allclose(found[n], (expected - mean) * contrast + mean, atol=1e-12)


def shifted(picture: Array, y: int, x: int) -> Array:
    """Shift by slicing, and fill with zeros."""
    found = np.zeros_like(picture)
    height, width = picture.shape[1:]
    found[:, max(y, 0) : height + min(y, 0), max(x, 0) : width + min(x, 0)] = picture[
        :, max(-y, 0) : height + min(-y, 0), max(-x, 0) : width + min(-x, 0)
    ]
    return found


@pytest.mark.parametrize(("height", "width", "most"), [(16, 16, (2, 2)), (12, 21, (2, 3)), (4, 3, (1, 0))])
def test_diffaugment_s_shifts(height: int, width: int, most: tuple[int, int]) -> None:
    n = 600
    given = pictures(1, 1, height, width)
    found = DiffAugment(config(augment_policy="translation", augment="diffaugment")).see(
        given.expand(n, -1, -1, -1), p(0)
    )
    ranges = [range(-m, m + 1) for m in most]
    references = {shifted(given[0].numpy(), y, x).tobytes(): (y, x) for y, x in itertools.product(*ranges)}
    counts = Counter(references[picture.numpy().tobytes()] for picture in found)
    assert len(counts) == len(references)
    expected = n / len(references)
    assert all(abs(count - expected) < 5 * expected**0.5 for count in counts.values())


@pytest.mark.parametrize(("height", "width"), [(6, 6), (8, 5), (7, 10)])
def test_diffaugment_s_squares(height: int, width: int) -> None:
    n = 1500
    given = pictures(1, 2, height, width)
    found = DiffAugment(config(augment_policy="cutout", augment="diffaugment")).see(
        given.expand(n, -1, -1, -1), p(0)
    )
    sides = [int(side * 0.5 + 0.5) for side in (height, width)]
    references: Counter[bytes] = Counter()
    centres = [range(length + 1 - side % 2) for length, side in zip((height, width), sides, strict=True)]
    for y, x in itertools.product(*centres):
        expected = given[0].numpy().copy()
        for row, column in itertools.product(range(height), range(width)):
            if 0 <= row - y + sides[0] // 2 < sides[0] and 0 <= column - x + sides[1] // 2 < sides[1]:
                expected[:, row, column] = 0
        references[expected.tobytes()] += 1
    counts = Counter(picture.numpy().tobytes() for picture in found)
    assert counts.keys() == references.keys()
    for picture, ways in references.items():
        share = n * ways / references.total()
        assert abs(counts[picture] - share) < 5 * share**0.5


def test_diffaugment_makes_what_its_policy_lists_in_its_order(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    for name in diffaugment.CHANGES:
        monkeypatch.setitem(diffaugment.CHANGES, name, lambda x, name=name: made.append(name) or x)
    for policy, names in (("", ["color", "translation", "cutout"]), ("cutout,color", ["cutout", "color"])):
        made.clear()
        DiffAugment(config(augment="diffaugment", augment_policy=policy)).see(pictures(2), p(0))
        assert made == names


# --- ADA ---


def test_ada_at_0_is_nothing_to_the_byte() -> None:
    given = pictures(64).float()
    for policy in POLICIES:
        found = Ada(config(augment_policy=policy, augment="ada")).see(given, p(0))
        assert torch.equal(found, given), policy


def test_ada_s_whole_pixels_are_exact() -> None:
    """At p = 1 each picture is one of the flips, turns and shifts that there are, and all of them occur."""
    n, side = 4000, 8
    given = pictures(1, 1, side, side)
    found = Ada(config(augment="ada"), dict.fromkeys(("xflip", "rotate90", "xint"), 1.0)).see(
        given.expand(n, -1, -1, -1), p(1)
    )
    references: dict[bytes, tuple[bool, int, int, int]] = {}
    for flip, turns, y, x in itertools.product((False, True), range(4), (-1, 0, 1), (-1, 0, 1)):
        picture = given[0, 0].numpy()
        picture = np.rot90(picture[:, ::-1] if flip else picture, -turns)
        wide = np.pad(picture, 1, mode="symmetric")
        references[wide[1 - y : 1 - y + side, 1 - x : 1 - x + side].tobytes()] = flip, turns, y, x
    assert len(references) == 72
    seen = [references[picture.numpy().tobytes()] for picture in found]
    for which, ways, rate in ((0, (True,), 0.5), (1, range(4), 0.25), (2, (1, -1), 0.25), (3, (1, -1), 0.25)):
        for way in ways:
            share = sum(kinds[which] == way for kinds in seen) / n
            # A shift is round(8 u) with u from U(-1/8, 1/8): a quarter of them each way.
            assert share == pytest.approx(rate, abs=4 * (rate * (1 - rate) / n) ** 0.5)


def geometry(monkeypatch: pytest.MonkeyPatch, value: float, names: tuple[str, ...], n: int = 20_000) -> Array:
    """Return the affine maps by which ADA would change pictures of 20 x 10 pixels."""
    taken: list[Tensor] = []
    monkeypatch.setattr(ada, "warped", lambda x, inverse: taken.append(inverse) or x)
    # All of them, with those that are not changed.
    monkeypatch.setattr(ada, "where_made", lambda made, x, change, *amounts: change(x, *amounts))
    Ada(config(augment="ada"), dict.fromkeys(names, 1.0)).see(
        torch.zeros(n, 1, 10, 20, dtype=torch.float64), p(value)
    )
    return np.linalg.inv(taken[0].numpy())


def test_ada_s_scales(monkeypatch: pytest.MonkeyPatch) -> None:
    maps = geometry(monkeypatch, 1, ("scale",))
    assert np.log2(maps[:, 0, 0]).std() == pytest.approx(0.2, rel=0.03)
    np.testing.assert_allclose(maps[:, 0, 0], maps[:, 1, 1])
    stretches = geometry(monkeypatch, 1, ("aniso",))
    assert np.log2(stretches[:, 0, 0]).std() == pytest.approx(0.2, rel=0.03)
    np.testing.assert_allclose(np.linalg.det(stretches), 1)
    assert (np.abs(maps[:, :2, 2]) == 0).all()


def test_ada_s_shifts_are_parts_of_the_sides(monkeypatch: pytest.MonkeyPatch) -> None:
    maps = geometry(monkeypatch, 1, ("scale", "rotate", "xfrac"))
    assert maps[:, :2, 2].std(0) == pytest.approx([0.125 * 20, 0.125 * 10], rel=0.03)


@pytest.mark.parametrize("value", [0.3, 0.75])
def test_ada_s_coins_of_geometry(monkeypatch: pytest.MonkeyPatch, value: float) -> None:
    """Both rotations together are made with probability p, and so a picture stays with (1 - p)^4."""
    turned = geometry(monkeypatch, value, ("rotate",))
    assert (np.abs(turned - np.eye(3)).max((1, 2)) > 1e-9).mean() == pytest.approx(value, abs=0.015)
    maps = geometry(monkeypatch, value, ("scale", "rotate", "aniso", "xfrac"))
    same = np.abs(maps - np.eye(3)).max((1, 2)) < 1e-9
    assert same.mean() == pytest.approx((1 - value) ** 4, abs=0.015)


def test_ada_s_order_of_geometry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shift · rotation · stretch · rotation · scale has the singular values of scale · stretch."""
    maps = geometry(monkeypatch, 1, ("scale", "rotate", "aniso", "xfrac"), 4000)
    large, small = np.log2(np.linalg.svd(maps[:, :2, :2], compute_uv=False)).T
    # log2 of the scale is their mean, and of the stretch half their difference.
    assert ((large + small) / 2).std() == pytest.approx(0.2, rel=0.05)
    assert ((large - small) / 2).mean() == pytest.approx(0.2 * math.sqrt(2 / math.pi), rel=0.05)


@pytest.mark.parametrize(("policy", "strength"), [("color", 1.0), ("r3gan", 0.5)])
def test_ada_s_amounts_of_colour(monkeypatch: pytest.MonkeyPatch, policy: str, strength: float) -> None:
    taken: list[Any] = []
    monkeypatch.setattr(ada, "recoloured", lambda x, *amounts: taken.extend(amounts) or x)
    monkeypatch.setattr(ada, "where_made", lambda made, x, change, *amounts: change(x, *amounts))
    monkeypatch.setattr(ada, "warped", lambda x, inverse: x)
    monkeypatch.setattr(ada, "moved", lambda x, inverse: x)
    Ada(config(augment="ada", augment_policy=policy)).see(
        torch.zeros(20_000, 3, 1, 1, dtype=torch.float64), p(0.8)
    )
    brightness, contrast, flip, hue, saturation = (amount.double().numpy() for amount in taken)
    rate = 0.8 * strength
    for values, neutral in ((brightness, 0), (contrast, 1), (hue, 0), (saturation, 1)):
        assert (values != neutral).mean() == pytest.approx(rate, abs=0.015)
    assert flip.mean() == pytest.approx(rate / 2, abs=0.015)
    assert brightness[brightness != 0].std() == pytest.approx(0.2, rel=0.03)
    assert np.log2(contrast[contrast != 1]).std() == pytest.approx(0.5, rel=0.03)
    assert np.log2(saturation[saturation != 1]).std() == pytest.approx(1, rel=0.03)
    assert np.abs(hue).max() <= math.pi
    assert hue[hue != 0].std() == pytest.approx(math.pi / math.sqrt(3), rel=0.03)


def test_ada_s_frequencies_keep_the_expected_power(monkeypatch: pytest.MonkeyPatch) -> None:
    """One band is made stronger or weaker; with the weights 10:1:1:1 the power of the gains stays 1."""
    taken: list[Tensor] = []
    monkeypatch.setattr(ada, "where_made", lambda made, x, change, rows, columns: taken.append(rows) or x)
    given = torch.zeros(4000, 1, 8, 8, dtype=torch.float64)
    Ada(config(augment="ada"), {"filter": 1.0}).see(given, p(0.2))
    bands = band_matrices(8, torch.device("cpu"), torch.float64).flatten(1).T
    gains = torch.linalg.lstsq(bands, taken[0].flatten(1).T).solution.T
    tossed = (gains / gains.median(1, keepdim=True).values - 1).abs() > 1e-6
    alone = gains[tossed.sum(1) == 1]
    assert len(alone) / len(gains) == pytest.approx(4 * 0.2 * 0.8**3, abs=0.03)
    power = alone.square() @ torch.tensor([10, 1, 1, 1], dtype=torch.float64) / 13
    torch.testing.assert_close(power, torch.ones_like(power))
    factors = alone.masked_select(tossed[tossed.sum(1) == 1]) / alone.median(1).values
    assert factors.log2().std() == pytest.approx(1, rel=0.06)


def test_ada_s_noise_and_squares() -> None:
    given = torch.zeros(3000, 3, 8, 12, dtype=torch.float64)
    noisy = Ada(config(augment="ada"), {"noise": 1.0}).see(given, p(0.5))
    deviations = noisy.flatten(1).std(1)
    assert (deviations > 0).double().mean() == pytest.approx(0.5, abs=0.04)
    assert deviations[deviations > 0].square().mean().sqrt() == pytest.approx(0.1, rel=0.06)
    cut = Ada(config(augment="ada"), {"cutout": 1.0}).see(given + 1, p(0.5))
    removed = (cut[:, 0] == 0).double()
    assert (removed.flatten(1).amax(1)).mean() == pytest.approx(0.5, abs=0.04)
    # Half of each side, around a point anywhere: a part of it is outside, on average a sixteenth of a side.
    inside = removed[removed.flatten(1).amax(1) > 0].flatten(1).mean(1)
    assert inside.mean() == pytest.approx(0.4375**2, rel=0.03)
    assert inside.max() == pytest.approx(0.25)


def test_policies_are_prefixes_of_the_whole_pipe() -> None:
    assert [len(changes) for changes in POLICIES.values()] == [3, 4, 5, 7, 12, 13, 14, 15, 13]
    assert POLICIES["r3gan"]["hue"] == 0.5
    assert POLICIES["r3gan"]["cutout"] == POLICIES["r3gan"]["scale"] == 1
    with pytest.raises(ConfigError, match="no change of ada 'zoom'"):
        Ada(config(), {"zoom": 1.0})


@pytest.mark.parametrize("channels", [1, 3])
def test_pictures_are_differentiable_twice(channels: int) -> None:
    """In float64 against finite differences, with the same coins each time; odd sides."""
    given = pictures(3, channels, 4, 5).requires_grad_()
    for changes in (
        Ada(config(augment="ada", augment_policy="bgcfnc")),
        DiffAugment(config(augment="diffaugment")),
    ):

        def see(x: Tensor, changes: Any = changes) -> Tensor:
            torch.manual_seed(3)
            return changes.see(x, p(0.7))

        assert gradcheck(see, given, fast_mode=True)
        assert gradgradcheck(lambda x, see=see: see(x) ** 3, given, fast_mode=True)
