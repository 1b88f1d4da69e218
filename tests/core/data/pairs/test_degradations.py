import math
from typing import get_args

import pytest
import torch

from mmgan.data.dataset import Draw
from mmgan.data.pairs.dataset import PairConfig
from mmgan.data.pairs.degradations import DERIVATIONS, derivation
from mmgan.errors import ConfigError, UsageError


def made(derive, **settings):
    return derivation(PairConfig(plugin="test", size=32, derive=derive, **settings))


def draw(count, seed=0, epoch=0):
    return Draw(seed, torch.full((count,), epoch), torch.arange(count))


def pictures(count=4, channels=3, size=32):
    generator = torch.Generator().manual_seed(1)
    return torch.rand(count, channels, size, size, generator=generator) * 2 - 1


def constant(value, channels=3, size=32):
    return torch.full((1, channels, size, size), value)


def test_the_setting_has_every_name():
    assert get_args(PairConfig.model_fields["derive"].annotation) == ("none", *DERIVATIONS)


@pytest.mark.parametrize(
    ("name", "channels"),
    [(name, 3) for name in DERIVATIONS] + [(name, 1) for name in ("edges", "superres", "inpaint", "denoise")],
)
def test_shapes_ranges_and_determinism(name, channels):
    derive, given = made(name, channels=channels), pictures(channels=channels)
    before = given.clone()
    inputs, targets = derive.derive(given, draw(4))
    assert inputs.shape == (4, derive.input_channels(channels), 32, 32)
    assert targets.shape == given.shape
    for side in (inputs, targets):
        assert side.dtype == torch.float32
        assert side.abs().max() <= 1
    assert torch.equal(given, before)
    assert all(map(torch.equal, derive.derive(given, draw(4)), (inputs, targets)))
    # An example is the same whatever batch it is in.
    alone = Draw(0, torch.tensor([0]), torch.tensor([2]))
    torch.testing.assert_close(derive.derive(given[2:3], alone)[0], inputs[2:3])
    assert derive.show(inputs).shape[1] in (1, 3)
    if name != "recolor":
        assert torch.equal(targets, given)
    if name in ("inpaint", "denoise"):
        assert not torch.equal(derive.derive(given, draw(4, epoch=1))[0], inputs)
        assert not torch.equal(derive.derive(given, draw(4, seed=1))[0], inputs)


@pytest.mark.parametrize("name", DERIVATIONS)
def test_pictures_of_one_pixel(name):
    derive = made(name)
    if derive.scale == 1:
        assert derive.derive(pictures(size=1), draw(4))[0].shape[-2:] == (1, 1)


def test_luma():
    colours = torch.eye(3).view(3, 3, 1, 1) * 2 - 1
    grey, _ = made("colorize").derive(colours, draw(3))
    torch.testing.assert_close(
        (grey.flatten() + 1) / 2, torch.tensor([0.2989, 0.587, 0.114]), atol=1e-4, rtol=0
    )
    assert torch.equal(made("colorize").prepare(colours), grey)
    # A grey picture of a person's has nothing to take away.
    assert torch.equal(made("colorize").prepare(pictures(channels=1)), pictures(channels=1))


def test_a_flat_picture_has_no_outlines():
    torch.testing.assert_close(made("edges").derive(constant(-0.3), draw(1))[0], constant(1.0, channels=1))


def test_outlines_are_dark_where_it_changes_and_white_elsewhere():
    step = constant(-1.0)
    step[..., 16:] = 1
    outlines, _ = made("edges").derive(step, draw(1))
    # Some processors round along a line.
    assert outlines[..., 15:17].max() < -0.9999
    assert outlines[..., :13].min() > 0.9999
    assert outlines[..., 19:].min() > 0.9999
    # Lines are as dark in a pale picture, and faint noise draws none.
    torch.testing.assert_close(made("edges").derive(step * 0.3, draw(1))[0], outlines)
    assert made("edges").derive(pictures() * 0.01, draw(4))[0].min() > 0


def test_a_drawing_is_taken_as_it_is():
    drawing = pictures(channels=1)
    assert torch.equal(made("edges").prepare(drawing), drawing)
    assert made("edges").prepare(pictures()).shape == (4, 1, 32, 32)


@pytest.mark.parametrize("scale", [2, 4, 8])
def test_superres(scale):
    derive = made("superres", superres_scale=scale)
    assert derive.scale == scale
    torch.testing.assert_close(derive.derive(constant(0.3), draw(1))[0], constant(0.3))
    # A ramp survives, away from the border.
    ramp = torch.linspace(-1, 1, 64).expand(1, 3, 64, 64)
    inside = slice(3 * scale, -3 * scale)
    torch.testing.assert_close(
        derive.derive(ramp, draw(1))[0][..., inside], ramp[..., inside], atol=1e-3, rtol=0
    )
    assert derive.prepare(pictures(size=9)).shape == (4, 3, 9 * scale, 9 * scale)


def test_superres_in_use_is_that_of_training():
    derive, given = made("superres"), pictures()
    small = torch.nn.functional.interpolate(given, (8, 8), mode="bicubic", antialias=True).clamp(-1, 1)
    assert torch.equal(derive.prepare(small), derive.derive(given, draw(4))[0])


def test_holes():
    derive, given = made("inpaint"), pictures(400)
    inputs, _ = derive.derive(given, draw(400))
    mask = inputs[:, -1:]
    assert set(mask.unique().tolist()) == {0, 1}
    assert (derive.show(inputs)[(mask == 1).expand(-1, 3, -1, -1)] == 0).all()
    known = (mask == 0).expand(-1, 3, -1, -1)
    assert torch.equal(derive.show(inputs)[known], given[known])
    # One to three rectangles with sides from 1/8 to 1/2.
    fractions = mask.mean((1, 2, 3))
    assert fractions.min() >= 1 / 64
    assert fractions.max() <= 3 / 4
    rows = mask.amax((1, 3)).sum(1)
    assert rows.min() == 4
    # A rectangle covers (5/16)**2 on average; two of them, twice that less what they share.
    assert 0.12 < fractions.mean() < 2 * (5 / 16) ** 2


def test_a_person_brings_the_hole():
    derive, given, mask = made("inpaint"), pictures(2), torch.zeros(1, 1, 32, 32)
    mask[..., :16] = 1
    inputs = derive.prepare(given, mask)
    assert inputs.shape == (2, 4, 32, 32)
    assert (inputs[:, :3, :, :16] == 0).all()
    outputs = torch.ones_like(given)
    finished = derive.finish(outputs, given, mask)
    assert torch.equal(finished[..., 16:], given[..., 16:])
    assert (finished[..., :16] == 1).all()


def test_a_mask_is_needed():
    derive = made("inpaint")
    assert derive.takes_mask
    for call in (
        lambda *mask: derive.prepare(pictures(), *mask),
        lambda *mask: derive.finish(*[pictures()] * 2, *mask),
    ):
        with pytest.raises(UsageError, match="needs a mask") as caught:
            call()
        assert "white where the hole is" in caught.value.hint
        with pytest.raises(UsageError, match="mask is 16x32 and the picture is 32x32"):
            call(torch.zeros(4, 1, 32, 16))


def test_noise():
    given = torch.zeros(300, 3, 16, 16)
    inputs, _ = made("denoise", noise=0.25).derive(given, draw(300))
    deviations = inputs.std((1, 2, 3))
    assert deviations.max() < 0.28
    # Uniform from 0 to 0.25: mean and deviation of the deviations.
    assert deviations.mean().item() == pytest.approx(0.125, abs=0.015)
    assert deviations.std().item() == pytest.approx(0.25 / math.sqrt(12), abs=0.01)
    assert inputs.mean().abs() < 0.005
    loud, _ = made("denoise", noise=2).derive(given, draw(300))
    assert loud.abs().max() == 1
    assert torch.equal(made("denoise").prepare(given), given)


def test_recolor_has_its_ends():
    derive = made("recolor")
    for value, colour in ((-1.0, derive.paper), (1.0, derive.ink), (0.0, None)):
        given = constant(value)
        inputs, target = derive.derive(given, draw(1))
        assert torch.equal(inputs, given)
        colour = colour or [(paper + ink) / 2 for paper, ink in zip(derive.paper, derive.ink, strict=True)]
        torch.testing.assert_close((target[0, :, 5, 5] + 1) / 2, torch.tensor(colour), atol=1e-3, rtol=0)


def test_nothing_else_needs_a_mask_or_changes_what_comes_out():
    for name in set(DERIVATIONS) - {"inpaint"}:
        derive, outputs = made(name), pictures()
        assert not derive.takes_mask
        assert derive.finish(outputs, pictures()) is outputs
        assert derive.show(outputs) is outputs


@pytest.mark.parametrize("name", ["colorize", "recolor"])
def test_colour_needs_channels(name):
    with pytest.raises(ConfigError, match=f"{name}.*3 channels, not channels = 1") as caught:
        made(name, channels=1)
    assert "channels=3" in caught.value.hint


def test_superres_needs_a_multiple():
    with pytest.raises(ConfigError, match="size = 30 is not a multiple of superres_scale = 4") as caught:
        derivation(PairConfig(plugin="test", size=30, derive="superres"))
    assert "size=32" in caught.value.hint


def test_none_makes_no_pairs():
    with pytest.raises(ConfigError, match="'none' makes no pairs") as caught:
        made("none")
    assert "colorize" in caught.value.hint
