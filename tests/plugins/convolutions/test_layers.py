"""A convolution and its derivatives are what the library computes, in whatever form they are computed."""

from __future__ import annotations

import copy
import itertools
import json
import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from toys import Always, everything

import mmgan
from mmgan import ConfigError, convolutions
from mmgan.config import check
from mmgan.plugins import Plugins
from mmgan_convolutions import plan as planning
from mmgan_convolutions.forms import FORMS
from mmgan_convolutions.layers import Convolution, TransposedConvolution, choose
from mmgan_convolutions.plan import Plan, by_rule
from mmgan_convolutions.products import DERIVATIVES, Geometry
from mmgan_convolutions.settings import Settings

LAYERS: list[tuple[type[nn.Module], dict[str, Any]]] = [
    (nn.Conv2d, {"kernel_size": 4, "stride": 2, "padding": 1}),
    (nn.Conv2d, {"kernel_size": 3, "stride": 1, "padding": 0, "bias": False}),
    (nn.Conv2d, {"kernel_size": (3, 5), "stride": (1, 2), "padding": (1, 2)}),
    (nn.Conv2d, {"kernel_size": 3, "stride": 4, "padding": 0}),
    (nn.Conv2d, {"kernel_size": 1, "stride": 2, "padding": 0}),
    (nn.ConvTranspose2d, {"kernel_size": 4, "stride": 2, "padding": 1}),
    (nn.ConvTranspose2d, {"kernel_size": 4, "stride": 1, "padding": 0, "bias": False}),
    (nn.ConvTranspose2d, {"kernel_size": (3, 5), "stride": (1, 2), "padding": (1, 2)}),
    (nn.ConvTranspose2d, {"kernel_size": 3, "stride": 2, "padding": 1, "output_padding": 1}),
    (nn.ConvTranspose2d, {"kernel_size": 2, "stride": 3, "padding": 0, "output_padding": (1, 0)}),
]


def both(
    kind: type[nn.Module], options: dict[str, Any], dtype: torch.dtype, form: str
) -> tuple[nn.Module, nn.Module]:
    """A layer as the library computes it, and the same in a form."""
    torch.manual_seed(0)
    library = kind(3, 4, **options, dtype=dtype)
    ours = copy.deepcopy(library)
    choose(ours, Always(form))
    assert isinstance(ours, Convolution | TransposedConvolution)
    return library, ours


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("kind", "options"), LAYERS)
@pytest.mark.parametrize(("batch", "last"), [(1, False), (3, False), (2, True)])
def test_values_and_derivatives_are_the_library_s(
    kind: type[nn.Module], options: dict[str, Any], batch: int, last: bool, form: str
) -> None:
    library, ours = both(kind, options, torch.float64, form)
    pictures = torch.randn(batch, 3, 6, 7, dtype=torch.float64)
    if last:
        ours.to(memory_format=torch.channels_last)
        pictures = pictures.to(memory_format=torch.channels_last)
    pictures.requires_grad_()

    def derivatives(layer: nn.Module) -> list[Tensor]:
        output = layer(pictures)
        inner = torch.autograd.grad(output.square().sum(), pictures, create_graph=True)[0]
        # A penalty's: the gradient's own gradient, by the weights and by the pictures.
        penalty = (inner.flatten(1).norm(dim=1) - 1).square().mean()
        return [output, inner, *torch.autograd.grad(output.sum() + penalty, [*layer.parameters(), pictures])]

    for mine, theirs in zip(derivatives(ours), derivatives(library), strict=True):
        assert mine.shape == theirs.shape
        torch.testing.assert_close(mine, theirs)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("kind", "options"), LAYERS)
def test_under_autocast_the_output_is_bf16_too(
    kind: type[nn.Module], options: dict[str, Any], form: str
) -> None:
    library, ours = both(kind, options, torch.float32, form)
    pictures = torch.randn(2, 3, 6, 7)
    with torch.autocast("cpu", torch.bfloat16):
        mine, theirs = ours(pictures), library(pictures)
    assert mine.dtype == theirs.dtype == torch.bfloat16
    torch.testing.assert_close(mine.float(), theirs.float(), rtol=0.02, atol=0.02)
    mine.float().square().sum().backward()
    theirs.float().square().sum().backward()
    assert ours.weight.grad.dtype == torch.float32
    scale = float(library.weight.grad.abs().max())
    torch.testing.assert_close(ours.weight.grad, library.weight.grad, rtol=0.02, atol=0.02 * scale)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("kind", "options"), LAYERS)
def test_an_activation_may_work_in_place(kind: type[nn.Module], options: dict[str, Any], form: str) -> None:
    gradients = []
    for layer in both(kind, options | {"bias": False}, torch.float64, form):
        pictures = torch.linspace(-1, 1, 3 * 3 * 6 * 7, dtype=torch.float64).view(3, 3, 6, 7)
        nn.LeakyReLU(0.2, inplace=True)(layer(pictures.requires_grad_())).square().sum().backward()
        gradients.append((layer.weight.grad, pictures.grad))
    torch.testing.assert_close(*gradients)


def counted() -> tuple[nn.Conv2d, list[str]]:
    """Return a layer, and the kinds of the products that it computes."""
    computed: list[str] = []

    class Counting(Always):
        def compute(self, kind: Any, *rest: Any) -> Tensor:
            computed.append(kind)
            return super().compute(kind, *rest)

    layer = nn.Conv2d(3, 4, 3)
    choose(layer, Counting("product"))
    return layer, computed


@pytest.mark.parametrize("kind", DERIVATIVES)
def test_only_the_gradients_that_are_asked_for_are_computed(kind: Any) -> None:
    """A frozen discriminator's weights get no gradient, which is the dearest."""
    layer, computed = counted()
    layer.requires_grad_(kind == "weight")
    pictures = torch.randn(2, 3, 6, 6, requires_grad=kind == "input")
    output = layer(pictures)
    if kind != "forward":
        output.sum().backward()
    assert computed == ["forward", *([kind] if kind != "forward" else [])]


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_a_penalty_s_inner_gradient_computes_no_gradient_of_the_weights(precision: torch.dtype) -> None:
    layer, computed = counted()
    pictures = torch.randn(2, 3, 6, 6, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == torch.bfloat16):
        output = layer(pictures).float()
        (inner,) = torch.autograd.grad(output.sum(), pictures, create_graph=True)
        assert computed == ["forward", "input"]
        (output.sum() + inner.square().sum()).backward()
    # The weights' gradient by the output, and by the inner gradient.
    assert sorted(computed[2:]).count("weight") == 2
    assert layer.weight.grad is not None


def test_the_rule() -> None:
    """Many weights for each place, and sooner for the gradient by the weights; in float32 later."""
    half, full = torch.bfloat16, torch.float32
    weights = 512 * 512 * 16
    assert by_rule("forward", half, "contiguous", weights, 64) == "product"
    assert by_rule("forward", half, "contiguous", weights, 256) == "library"
    assert by_rule("forward", half, "channels-last", weights, 256) == "product, channels-last"
    assert by_rule("forward", full, "channels-last", weights, 256) == "library"
    assert by_rule("input", half, "channels-last", weights, 1) == "library"
    assert by_rule("input", full, "contiguous", weights, 256) == "product"
    assert by_rule("weight", half, "channels-last", 256 * 128 * 16, 4096) == "product, channels-last"
    assert by_rule("weight", full, "channels-last", 256 * 128 * 16, 4096) == "library"
    assert by_rule("weight", half, "strided", 256 * 128 * 16, 4096) == "product, channels-last"
    assert by_rule("weight", torch.float64, "contiguous", 256 * 128 * 16, 4096) == "library"
    assert by_rule("forward", full, "strided", weights, 1) == "library"


def test_a_layer_is_the_library_s_where_all_its_products_are() -> None:
    weight = torch.empty(128, 64, 4, 4)
    assert Plan().leaves(weight, torch.float32, 4096)
    assert not Plan().leaves(weight, torch.bfloat16, 1024)
    assert Plan().leaves(weight.to("meta"), torch.bfloat16, 1)
    assert not Plan(measures=True).leaves(weight, torch.float32, 10**6)


def test_what_the_rule_leaves_to_the_library_is_computed_to_the_byte_as_by_it() -> None:
    for kind, channels, expected in (
        (nn.Conv2d, (3, 4), 2 * 3 * 5),
        (nn.ConvTranspose2d, (3, 4), 2 * 6 * 10),
    ):
        seen = []

        class Watching(Plan):
            def leaves(self, weight: Tensor, dtype: torch.dtype, places: int, seen: Any = seen) -> bool:
                seen.append(places)
                return super().leaves(weight, dtype, places)

        library = kind(*channels, 4, 2, 1)
        ours = copy.deepcopy(library)
        choose(ours, Watching())
        pictures = torch.randn(2, 3, 6, 10)
        assert torch.equal(ours(pictures), library(pictures))
        assert seen == [expected]


@pytest.mark.parametrize("plan", [Plan(), Plan(measures=True)])
@pytest.mark.parametrize("kind", [nn.Conv2d, nn.ConvTranspose2d])
def test_an_empty_batch_is_the_library_s(kind: type[nn.Module], plan: Plan) -> None:
    layer = kind(8, 8, 4, 2, 1)
    choose(layer, plan)
    pictures = torch.zeros(0, 8, 6, 6, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        layer(pictures).sum().backward()
    assert pictures.grad.shape == pictures.shape
    assert not layer.weight.grad.any()


def test_number_formats_that_do_not_fit_are_refused_whatever_the_shape() -> None:
    layer = nn.Conv2d(512, 512, 4, 2, 1)
    choose(layer, Plan())
    for pictures in (torch.zeros(1, 512, 4, 4), torch.zeros(64, 512, 32, 32)):
        with pytest.raises(RuntimeError, match="should be the same"):
            layer(pictures.double()[:1])
    with torch.autocast("cpu", torch.bfloat16):
        assert layer.double()(torch.zeros(1, 512, 4, 4, dtype=torch.float64)).dtype == torch.float64


def test_transforms_and_traces_go_by_the_library() -> None:
    layer = nn.Conv2d(512, 512, 4, 2, 1)
    choose(layer, Plan())
    pictures = torch.rand(1, 512, 4, 4)
    assert not layer.plan.leaves(layer.weight, torch.float32, 4)
    by_transform = torch.func.grad(lambda x: layer(x).square().sum())(pictures)
    pictures.requires_grad_()
    (by_product,) = torch.autograd.grad(layer(pictures).square().sum(), pictures)
    torch.testing.assert_close(by_transform, by_product)
    exported = torch.export.export(layer, (pictures.detach(),)).module()
    torch.testing.assert_close(exported(pictures), layer(pictures))


@pytest.mark.parametrize("form", FORMS)
def test_half_precision_rounds_like_the_library_s(form: str) -> None:
    """Or nearly so, where up to 25 patches that are rounded already overlap."""
    torch.manual_seed(0)
    y, w = torch.randn(2, 64, 8, 8).bfloat16(), torch.randn(64, 16, 5, 5).bfloat16()
    geometry = Geometry((8, 8), (5, 5), (1, 1), (2, 2))
    exact = FORMS["library"]("input", y.double(), w.double(), geometry)
    error = (FORMS[form]("input", y, w, geometry).double() - exact).norm() / exact.norm()
    assert error < 2.5e-3


def test_a_backward_pass_inside_autocast_keeps_the_layer_s_number_format() -> None:
    library, ours = both(nn.Conv2d, {"kernel_size": 4, "stride": 2, "padding": 1}, torch.float32, "product")
    pictures = torch.randn(2, 3, 6, 7)
    for layer in (library, ours):
        output = layer(pictures).square().sum()
        with torch.autocast("cpu", torch.bfloat16):
            output.backward()
    torch.testing.assert_close(ours.weight.grad, library.weight.grad)


def test_a_single_picture_without_a_batch_is_taken_too() -> None:
    for kind in (nn.Conv2d, nn.ConvTranspose2d):
        library, ours = both(kind, {"kernel_size": 4, "stride": 2, "padding": 1}, torch.float32, "product")
        picture = torch.randn(3, 6, 10)
        assert torch.equal(ours(picture), library(picture))


def test_what_a_product_can_t_be_stays_as_it_is() -> None:
    class Own(nn.Conv2d):
        pass

    layers = nn.Sequential(
        nn.Conv2d(4, 4, 3, groups=2),
        nn.Conv2d(4, 4, 3, dilation=2),
        nn.Conv2d(4, 4, 3, padding="same"),
        nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect"),
        Own(4, 4, 3),
    )
    before = [type(layer) for layer in layers]
    choose(layers, Plan())
    assert [type(layer) for layer in layers] == before


# In runs.


def new_run(folder: Path | None = None, **changes: Any) -> mmgan.Run:
    """dcgan with tiny networks, whose layers no rule would choose anything for."""
    plugins = Plugins(installed=True)
    settings = {
        "plugin": "dcgan",
        "preset": "paper",
        "width": 4,
        "batch_size": 4,
        "device": "cpu",
        "precision": "fp32",
    }
    settings |= {"steps": 6, "sample_every": 3, "tensorboard": False} | changes
    return mmgan.new_run(check(plugins.config_class("dcgan"), settings), plugins, folder)


@pytest.mark.parametrize("setting", ["auto", "tune", "library"])
def test_a_run_chooses_by_its_setting(setting: str) -> None:
    run = new_run(convolutions=setting, ema=0.9)
    assert run.players["G"].average is not None
    for module in (run.task.g, run.task.d, run.players["G"].average):
        layers = [m for m in module.modules() if isinstance(m, Convolution | TransposedConvolution)]
        assert bool(layers) == (setting != "library")
        assert all(layer.plan is convolutions.plan_of(run) for layer in layers)
    plan = convolutions.plan_of(run)
    assert (plan is not None and plan.measures) == (setting == "tune")


def test_a_compiled_network_is_left_to_the_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nn.Module, "compile", lambda self, backend: None)
    assert convolutions.plan_of(new_run(compile=True)) is None


@pytest.mark.slow
def test_a_step_is_the_same_both_ways() -> None:
    """pix2pix's deepest layers are products; its step is not another one."""
    weights = []
    for setting in ("auto", "library"):
        plugins = Plugins()
        settings = {
            "plugin": "pix2pix", "width": 64, "batch_size": 1, "d_width": 4, "dropout": "none",
            "precision": "fp32", "device": "cpu", "convolutions": setting, "steps": 2,
        }  # fmt: skip
        run = mmgan.new_run(check(plugins.config_class("pix2pix"), settings), plugins)
        if setting == "auto":
            deep = run.task.g.down[3][1]
            assert not deep.plan.leaves(deep.weight, torch.float32, 4)
        mmgan.train(run)
        weights.append(torch.cat([p.detach().flatten() for p in run.task.g.parameters()]))
    # Adam's first steps are of equal length whatever the gradient's size, so rounding may turn a few around.
    assert float((weights[0] - weights[1]).abs().mean()) < 1e-5


@pytest.fixture
def _clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock by which the forms take their turns at being the fastest, as on a machine that is not idle."""
    turns = itertools.cycle(FORMS)
    monkeypatch.setattr(planning, "fastest", lambda *_: next(turns))


@pytest.mark.usefixtures("_clock")
def test_a_tuned_run_computes_as_an_untuned_one_to_rounding() -> None:
    weights = []
    for setting in ("tune", "library"):
        run = new_run(convolutions=setting, steps=1)
        mmgan.train(run)
        weights.append(
            {path: t.clone() for path, t in everything(run).items() if path.startswith("/weights")}
        )
    for path, tuned in weights[0].items():
        # Not all: a weight whose gradient is nothing but rounding takes Adam's first step either way.
        near = (tuned - weights[1][path]).abs() < 1e-5
        assert float(near.float().mean()) > 0.98, path


@pytest.mark.slow
@pytest.mark.usefixtures("_clock")
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_tuned_run_resumes_to_the_byte(tmp_path: Path, precision: str) -> None:
    straight = new_run(tmp_path / "straight", convolutions="tune", precision=precision)
    mmgan.train(straight)
    plan = convolutions.plan_of(straight)
    assert {*plan.choices.values()} == {*FORMS}
    assert {key.split()[0] for key in plan.choices} == {"forward", "input", "weight"}

    # The same choices to begin with: another measurement would be another run.
    stopped = new_run(tmp_path / "stopped", convolutions="tune", precision=precision)
    convolutions.plan_of(stopped).choices.update(plan.choices)
    stopped.config = stopped.config.model_copy(update={"steps": 4})
    mmgan.train(stopped)
    resumed = mmgan.load_run(tmp_path / "stopped", Plugins(), changes={"steps": 6})
    assert convolutions.plan_of(resumed).choices == plan.choices
    mmgan.train(resumed)
    for path, tensor in everything(straight).items():
        assert torch.equal(tensor, everything(resumed)[path]), path
    kept = json.loads(next((tmp_path / "straight" / "checkpoints").glob("*6/state.json")).read_text())
    assert kept[convolutions.KEY] == plan.choices


def test_samples_of_a_tuned_run_measure_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    run = new_run(convolutions="tune")
    monkeypatch.setattr(planning, "fastest", lambda *_: pytest.fail("measured"))
    run.sample(4)
    assert convolutions.plan_of(run).choices == {}


def test_the_fastest_form_is_the_one_that_takes_least(monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    now = [0.0]
    monkeypatch.setattr(planning.time, "perf_counter", lambda: now[0])

    def taking(seconds: float) -> Any:
        def form(*_: Any) -> None:
            now[0] += seconds

        return form

    times = dict(zip(FORMS, (0.03, 0.05, 0.02, 0.04), strict=True))
    monkeypatch.setattr(planning, "FORMS", {name: taking(seconds) for name, seconds in times.items()})
    x, w = torch.zeros(2, 3, 8, 8), torch.zeros(4, 3, 4, 4)
    geometry = Geometry((8, 8), (4, 4), (2, 2), (1, 1))
    with caplog.at_level(logging.INFO, "mmgan"):
        assert planning.fastest("forward of x", "forward", x, w, geometry) == "product"
    assert (
        "convolution forward of x: product (library 30.00 ms, library, channels-last 50.00 ms" in caplog.text
    )
    key = planning.describe("forward", x, w.to(memory_format=torch.channels_last), geometry)
    assert key == "forward 4x4/2x2+1x1 of 2x3x8x8 contiguous and 4x3x4x4 channels-last, float32"


def test_several_processes_do_not_tune(monkeypatch: pytest.MonkeyPatch) -> None:
    run = new_run()
    run.ranks.world = 2
    run.config = run.config.model_copy(update={"convolutions": Settings(mode="tune")})
    with pytest.raises(ConfigError, match="2 processes would each measure"):
        convolutions.configure_module(run, "G", run.task.g)
