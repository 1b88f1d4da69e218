"""Convolutions as matrix products compute what the library's do, and so do both their derivatives."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import mmgan
from mmgan import convolutions
from mmgan.config import check
from mmgan.convolutions import Convolution, TransposedConvolution, choose, pays
from mmgan.plugins import Plugins

LAYERS: list[tuple[type[nn.Module], dict[str, Any]]] = [
    (nn.Conv2d, {"kernel_size": 4, "stride": 2, "padding": 1}),
    (nn.Conv2d, {"kernel_size": 3, "stride": 1, "padding": 0, "bias": False}),
    (nn.Conv2d, {"kernel_size": (3, 5), "stride": (1, 2), "padding": (1, 2)}),
    (nn.ConvTranspose2d, {"kernel_size": 4, "stride": 2, "padding": 1}),
    (nn.ConvTranspose2d, {"kernel_size": 4, "stride": 1, "padding": 0, "bias": False}),
    (nn.ConvTranspose2d, {"kernel_size": (3, 5), "stride": (1, 2), "padding": (1, 2)}),
]


def both(kind: type[nn.Module], options: dict[str, Any], dtype: torch.dtype) -> tuple[nn.Module, nn.Module]:
    """A layer as the library computes it, and the same as a product."""
    torch.manual_seed(0)
    library = kind(3, 4, **options, dtype=dtype)
    product = copy.deepcopy(library)
    choose(product)
    assert isinstance(product, Convolution | TransposedConvolution)
    return library, product


@pytest.fixture
def _always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compute small layers as products too."""
    monkeypatch.setattr(convolutions, "pays", lambda weight, positions: True)


@pytest.mark.usefixtures("_always")
@pytest.mark.parametrize(("kind", "options"), LAYERS)
@pytest.mark.parametrize("batch", [1, 3])
def test_values_and_derivatives_are_the_library_s(
    kind: type[nn.Module], options: dict[str, Any], batch: int
) -> None:
    library, product = both(kind, options, torch.float64)
    pictures = torch.randn(batch, 3, 6, 7, dtype=torch.float64, requires_grad=True)

    def derivatives(layer: nn.Module) -> list[Tensor]:
        output = layer(pictures)
        inner = torch.autograd.grad(output.square().sum(), pictures, create_graph=True)[0]
        # A penalty's: the gradient's own gradient, by the weights.
        penalty = (inner.flatten(1).norm(dim=1) - 1).square().mean()
        return [output, inner, *torch.autograd.grad(output.sum() + penalty, [*layer.parameters(), pictures])]

    for mine, theirs in zip(derivatives(product), derivatives(library), strict=True):
        assert mine.shape == theirs.shape
        torch.testing.assert_close(mine, theirs)


@pytest.mark.usefixtures("_always")
@pytest.mark.parametrize(("kind", "options"), LAYERS)
def test_under_autocast_the_output_is_bf16_too(kind: type[nn.Module], options: dict[str, Any]) -> None:
    library, product = both(kind, options, torch.float32)
    pictures = torch.randn(2, 3, 6, 7)
    with torch.autocast("cpu", torch.bfloat16):
        mine, theirs = product(pictures), library(pictures)
    assert mine.dtype == theirs.dtype == torch.bfloat16
    torch.testing.assert_close(mine.float(), theirs.float(), rtol=0.02, atol=0.02)


def test_the_rule() -> None:
    """Many weights, few positions."""
    assert pays(torch.empty(512, 256, 4, 4), 64)
    assert pays(torch.empty(512, 512, 4, 4), 256)
    assert not pays(torch.empty(512, 256, 4, 4), 256)
    assert not pays(torch.empty(512, 512, 4, 4), 1024)
    assert not pays(torch.empty(64, 3, 4, 4), 64)
    assert not pays(torch.empty(512, 256, 4, 4, device="meta"), 64)


def test_a_large_picture_takes_the_library_s(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(convolutions, "pays", lambda weight, positions: bool(seen.append(positions)))
    for kind, expected in ((nn.Conv2d, 2 * 3 * 5), (nn.ConvTranspose2d, 2 * 6 * 10)):
        library, product = both(kind, {"kernel_size": 4, "stride": 2, "padding": 1}, torch.float32)
        pictures = torch.randn(2, 3, 6, 10)
        assert torch.equal(product(pictures), library(pictures))
        assert seen.pop() == expected


@pytest.mark.usefixtures("_always")
def test_a_single_picture_without_a_batch_is_taken_too() -> None:
    for kind in (nn.Conv2d, nn.ConvTranspose2d):
        library, product = both(kind, {"kernel_size": 4, "stride": 2, "padding": 1}, torch.float32)
        picture = torch.randn(3, 6, 10)
        assert torch.equal(product(picture), library(picture))


def test_what_a_product_can_t_be_stays_as_it_is() -> None:
    class Own(nn.Conv2d):
        pass

    layers = nn.Sequential(
        nn.Conv2d(4, 4, 3, groups=2),
        nn.Conv2d(4, 4, 3, dilation=2),
        nn.Conv2d(4, 4, 3, padding="same"),
        nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect"),
        nn.ConvTranspose2d(4, 4, 3, 2, 1, output_padding=1),
        nn.Conv1d(4, 4, 3),
        Own(4, 4, 3),
    )
    before = [type(layer) for layer in layers]
    choose(layers)
    assert [type(layer) for layer in layers] == before


@pytest.mark.parametrize("setting", ["auto", "library"])
def test_a_run_chooses_by_its_setting(setting: str) -> None:
    plugins = Plugins()
    settings = {"plugin": "dcgan", "width": 4, "device": "cpu", "convolutions": setting, "ema": 0.9}
    run = mmgan.new_run(check(plugins.task("dcgan").Config, settings), plugins)
    assert run.players["G"].average is not None
    for module in (run.task.g, run.task.d, run.players["G"].average):
        found = [isinstance(m, Convolution | TransposedConvolution) for m in module.modules()]
        assert any(found) == (setting == "auto")


def test_a_step_is_the_same_both_ways() -> None:
    """pix2pix's deepest layers are products; its step is not another one."""
    weights = []
    for setting in ("auto", "library"):
        plugins = Plugins()
        settings = {
            "plugin": "pix2pix", "width": 64, "batch_size": 1, "d_width": 4, "dropout": "none",
            "precision": "fp32", "device": "cpu", "convolutions": setting, "steps": 2,
        }  # fmt: skip
        run = mmgan.new_run(check(plugins.task("pix2pix").Config, settings), plugins)
        if setting == "auto":
            deep = run.task.g.down[3][1]
            assert pays(deep.weight, 4)
        mmgan.train(run)
        weights.append(torch.cat([p.detach().flatten() for p in run.task.g.parameters()]))
    # Adam's first steps are of equal length whatever the gradient's size, so rounding may turn a few around.
    assert float((weights[0] - weights[1]).abs().mean()) < 1e-5
