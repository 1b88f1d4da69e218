"""1-D convolutions in a faster form give what torch's give, to rounding, and so do their derivatives."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from toys import Always

import mmgan
from mmgan import Plugins
from mmgan.losses import gradient_penalty
from mmgan_convolutions import minimal_filtering, signals
from mmgan_convolutions.activations import LeakyReLU, stop_second_derivatives
from mmgan_convolutions.forms import FORMS
from mmgan_convolutions.layers import choose
from mmgan_convolutions.plan import Plan
from mmgan_convolutions.planned import Planned
from mmgan_wavegan.layers import Convolution, TransposedConvolution
from mmgan_wavegan.networks import Critic, Generator


def plain(inputs: int, outputs: int, kernel: int, stride: int, **options: Any) -> nn.Module:
    return nn.Conv1d(inputs, outputs, kernel, stride, (kernel - stride + 1) // 2, **options)


def plain_transposed(inputs: int, outputs: int, kernel: int, stride: int, **options: Any) -> nn.Module:
    padding = (kernel - stride + 1) // 2
    more = stride - kernel + 2 * padding
    return nn.ConvTranspose1d(inputs, outputs, kernel, stride, padding, more, **options)


KINDS = [plain, plain_transposed, Convolution, TransposedConvolution]


def planned(layer: nn.Module, plan: Plan | None = None) -> nn.Module:
    """Return a copy of a layer or network that goes by a plan."""
    network = nn.Sequential(copy.deepcopy(layer))
    choose(network, plan or Plan())
    return network[0]


def derivatives(layer: nn.Module, x: Tensor) -> list[Tensor]:
    x = x.clone().requires_grad_()
    y = layer(x)
    (inner,) = torch.autograd.grad(y.pow(3).sum(), x, create_graph=True)
    return [y, inner, *torch.autograd.grad(inner.square().sum() + y.sum(), [x, *layer.parameters()])]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("stride", [1, 2, 4])
@pytest.mark.parametrize("kind", KINDS)
def test_a_layer_by_plan_is_the_library_s(kind: Any, stride: int, form: str) -> None:
    """In double precision, in which minimal filtering does not get in the way."""
    torch.manual_seed(0)
    layer = kind(3, 4, 25, stride).double()
    nn.init.normal_(layer.bias)
    x = torch.randn(2, 3, 32, dtype=torch.float64)
    torch.testing.assert_close(derivatives(planned(layer, Always(form)), x), derivatives(layer, x))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("inputs", [1, 2, 8])
@pytest.mark.parametrize("kind", [plain, plain_transposed])
def test_a_stranger_s_layer_filters_minimally(kind: Any, inputs: int, bias: bool) -> None:
    torch.manual_seed(0)
    layer, x = kind(inputs, 6, 25, 4, bias=bias), torch.randn(3, inputs, 64)
    ours = planned(layer)
    assert type(layer) is not type(ours)
    assert ours.state_dict().keys() == layer.state_dict().keys()
    for one, other in zip(derivatives(ours, x), derivatives(layer, x), strict=True):
        assert (one - other).abs().max() < 1e-3 * other.std()
    y = ours(x)
    assert y.is_contiguous(), "as torch's is, and so `view` works"
    if inputs > signals.FEW or kind is plain_transposed:
        assert not torch.equal(y, layer(x)), "it did filter minimally"


def test_under_bf16_a_layer_filters_minimally_only_if_it_says_that_it_may_round() -> None:
    torch.manual_seed(0)
    layer, x = plain(8, 6, 25, 4), torch.randn(3, 8, 64)
    coarse = type("Coarse", (nn.Conv1d,), {"taps_first": False, "coarse": True})
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(planned(layer)(x), layer(x))
        fine = Convolution(8, 6, 25, 4)
        assert not torch.equal(planned(fine)(x), fine(x))
    # Without weights of its own order a subclass may be anything, and is left alone.
    assert not isinstance(planned(coarse(8, 6, 25, 4, 11)), Planned)


def test_what_no_product_can_be_stays_as_it_is() -> None:
    class Own(nn.Conv1d):
        def forward(self, input: Tensor) -> Tensor:
            return input

    layers = nn.Sequential(
        nn.Conv1d(4, 4, 3, groups=2),
        nn.Conv1d(4, 4, 3, dilation=2),
        nn.Conv1d(4, 4, 3, padding="same"),
        nn.Conv1d(4, 4, 3, padding=1, padding_mode="reflect"),
        nn.ConvTranspose1d(4, 4, 3, groups=2),
        Own(4, 4, 3),
    )
    before = [type(layer) for layer in layers]
    choose(layers, Plan())
    assert [type(layer) for layer in layers] == before


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv1d(4, 6, 25, 4, 10),
        nn.Conv1d(4, 6, 24, 4, 10),
        nn.Conv1d(4, 6, 25, 4),
        nn.ConvTranspose1d(4, 6, 25, 4, 11, 2),
        nn.ConvTranspose1d(4, 6, 25, 4, 10),
    ],
)
def test_other_paddings_are_left_to_the_library(layer: nn.Module) -> None:
    x = torch.randn(2, 4, 64)
    assert torch.equal(planned(layer)(x), layer(x))
    assert torch.equal(planned(layer)(x[0]), layer(x[0])), "a single signal without a batch"


def test_an_output_size_is_taken() -> None:
    layer, x = nn.ConvTranspose1d(4, 6, 25, 4, 11), torch.randn(2, 4, 8)
    assert torch.equal(planned(layer)(x, [32]), layer(x, [32]))


def test_in_bf16_the_plan_is_asked_where_nothing_filters_minimally() -> None:
    critic, g, plan = Critic(16_384, 1, 4), Generator(16_384, 1, 4, 10), Plan(measures=True)
    choose(critic, plan)
    choose(g, plan)
    critic(torch.rand(2, 1, 16_384)).sum().backward()
    g(torch.rand(2, 10)).sum().backward()
    with torch.autocast("cpu", torch.bfloat16):
        critic(torch.rand(2, 1, 16_384)).sum().backward()
    assert not plan.choices
    with torch.autocast("cpu", torch.bfloat16):
        g(torch.rand(2, 10)).sum().backward()
    assert {key.split()[0] for key in plan.choices} == {"forward", "input", "weight"}
    assert all("bfloat16" in key for key in plan.choices)
    found = len(plan.choices)
    deeper = Critic(32_768, 1, 2)
    choose(deeper, plan)
    with torch.autocast("cpu", torch.bfloat16):
        deeper(torch.rand(2, 1, 32_768)).sum().backward()
    assert len(plan.choices) == found + 3, "those of its layer of stride 2"


def test_where_minimal_filtering_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    used: list[torch.dtype | None] = []
    decide = signals._minimal_format

    def watched(layer: Any, x: Tensor, step: int) -> torch.dtype | None:
        used.append(decide(layer, x, step))
        return used[-1]

    monkeypatch.setattr(signals, "_minimal_format", watched)
    critic, x = planned(Critic(16_384, 1, 2)), torch.rand(1, 1, 16_384)
    critic(x)
    assert used == [torch.float32] * 5
    used.clear()
    with torch.autocast("cpu", torch.bfloat16):
        critic(x)
    assert used == [torch.bfloat16] * 5
    used.clear()
    with torch.autocast("cpu", torch.float16):
        critic(x)
    assert used == [None] * 5
    used.clear()
    planned(Critic(32_768, 1, 2))(torch.rand(1, 1, 32_768))
    assert used == [torch.float32] * 5 + [None], "the layer of stride 2 is the library's"
    used.clear()
    planned(Critic(16_384, 1, 2, kernel=31))(x)
    assert used == [None] * 5, "a longer kernel has not enough points"
    used.clear()
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    critic(x)
    assert used == [None] * 5, "what is compiled is left to the compiler"


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("batch", "length"), [(2, 48), (2, 40), (2, 16), (0, 64)])
@pytest.mark.parametrize("kind", KINDS)
def test_any_length_and_batch_will_do(kind: Any, dtype: torch.dtype, batch: int, length: int) -> None:
    torch.manual_seed(0)
    x, layer = torch.randn(batch, 3, length), kind(3, 4, 25, 4)
    with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
        found = planned(layer)(x)
    tolerance = 1e-4 if dtype == torch.float32 else 0.2
    torch.testing.assert_close(found.float(), layer(x), atol=tolerance, rtol=0)


def test_in_bf16_a_generator_does_not_filter_minimally() -> None:
    """A thirtieth of rounding would be a noise in the fakes, which G can't unlearn."""
    torch.manual_seed(0)
    layer, x = planned(TransposedConvolution(8, 4, 25, 4)), torch.randn(2, 8, 64)
    with torch.autocast("cpu", torch.bfloat16):
        half = layer(x)
    assert (half - layer(x)).std() < 5e-3 * half.std()


def penalised_gradients(critic: nn.Module, x: Tensor) -> list[Tensor]:
    torch.manual_seed(5)  # of the shifts
    scores = critic(x)
    hat = x.clone().requires_grad_()
    (inner,) = torch.autograd.grad(critic(hat).sum(), hat, create_graph=True)
    loss = scores.mean() + 10 * gradient_penalty(inner)
    return list(torch.autograd.grad(loss, list(critic.parameters())))


def test_the_penalised_critic_s_gradients_equal_the_plain_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    """In float64, since rounding decides on which side of zero a few of LeakyReLU's inputs are."""
    torch.manual_seed(0)
    critic, x = Critic(16_384, 1, 8).double(), torch.rand(3, 1, 16_384, dtype=torch.float64) * 2 - 1
    doubled = (matrix.double() for matrix in minimal_filtering._matrices(25, torch.float32))
    of_doubles = minimal_filtering._Matrices(*doubled)
    monkeypatch.setattr(minimal_filtering, "_matrices", lambda kernel, dtype: of_doubles)
    scheme = minimal_filtering.SCHEMES[torch.float32]
    monkeypatch.setitem(minimal_filtering.SCHEMES, torch.float64, scheme)
    evaluations: list[int] = []
    evaluate = minimal_filtering._evaluate
    monkeypatch.setattr(minimal_filtering, "_evaluate", lambda w: evaluations.append(1) or evaluate(w))
    fast = planned(critic)
    for layer in fast.layers:
        layer.coarse = True
    stop_second_derivatives(fast)
    for turn in range(1, 3):
        found = penalised_gradients(fast, x)
        assert len(evaluations) == 4 * turn, "of each layer but the first, once for scores and penalty"
        for one, other in zip(found, penalised_gradients(critic, x), strict=True):
            # The matrices were rounded to float32.
            assert (one - other).norm() <= 1e-4 * other.norm() + 1e-12


# In runs.


def wavegan(**settings: Any) -> mmgan.Run:
    settings = {"dim": 2, "batch_size": 2, "data": "drums:8", "device": "cpu", "precision": "fp32"} | settings
    return mmgan.new_run("wavegan", Plugins(), **settings)


def test_wavegan_s_layers_are_exchanged_and_its_weights_keep_their_names() -> None:
    run, library = wavegan(), wavegan(convolutions={"mode": "library"})
    for name, player in run.players.items():
        plain = library.players[name].module
        assert all(isinstance(layer, Planned) for layer in player.module.layers)
        assert not any(isinstance(layer, Planned | LeakyReLU) for layer in plain.modules())
        assert player.module.state_dict().keys() == plain.state_dict().keys()
    assert all(isinstance(layer, Planned) for layer in run.players["G"].average.layers)
    assert type(run.task.d.activation) is LeakyReLU
    assert run.task.d.layers[1].weight.shape == (25, 2, 4)


def test_activations_are_exchanged_only_where_a_penalty_differentiates_twice() -> None:
    assert type(wavegan(penalty="none", clip_weights=0.1).task.d.activation) is nn.LeakyReLU


def test_a_step_is_the_library_s_to_rounding() -> None:
    weights = []
    for mode in ("auto", "library"):
        run = wavegan(convolutions={"mode": mode}, steps=1, critic_steps=1)
        mmgan.train(run)
        weights.append(torch.cat([p.detach().flatten() for p in run.task.d.parameters()]))
    # Adam's first steps are of equal length whatever the gradient's size, so rounding may turn a few around.
    assert float((weights[0] - weights[1]).abs().mean()) < 1e-5


def test_filters_do_not_outlive_an_update() -> None:
    run = wavegan(steps=1)
    mmgan.train(run)
    layer, x = run.task.d.layers[1], torch.ones(1, 2, 64)
    assert not layer.plan.evaluated.known
    expected = F.conv1d(x, layer.weight.permute(2, 1, 0), layer.bias, 4, 11)
    torch.testing.assert_close(layer(x), expected, rtol=0, atol=1e-4)
