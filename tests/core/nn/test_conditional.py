"""Conditional batch norm and projection, in closed form."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import batch_norm

from mmgan.nn import ConditionalBatchNorm, Projection, with_label


@pytest.mark.parametrize(("dimensions", "shape"), [(1, (6, 3)), (1, (6, 3, 5)), (2, (6, 3, 4, 5))])
def test_batch_norm_with_a_gain_and_a_bias_for_each_class(dimensions: int, shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    layer = ConditionalBatchNorm(3, 4, dimensions)
    plain = (nn.BatchNorm1d, nn.BatchNorm2d)[dimensions - 1](3, affine=False)
    x, label = torch.randn(shape), torch.tensor([0, 1, 2, 3, 0, 1])
    # At first it is plain batch norm, and counts as one: two embeddings are all that it adds.
    assert torch.equal(layer(x, label), copy.deepcopy(plain)(x))
    assert sum(p.numel() for p in layer.parameters()) == 2 * 4 * 3
    nn.init.normal_(layer.gain.weight)
    nn.init.normal_(layer.bias.weight)
    layer.norm.reset_running_stats()
    for training in (True, False):
        layer.train(training)
        mean, var = layer.norm.running_mean.clone(), layer.norm.running_var.clone()  # type: ignore[union-attr]
        normed = batch_norm(x, mean, var, training=training)
        found = layer(x, label)
        for row, of in enumerate(label.tolist()):
            gain, bias = (e.weight[of].view(-1, *[1] * (x.ndim - 2)) for e in (layer.gain, layer.bias))
            torch.testing.assert_close(found[row], gain * normed[row] + bias)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_conditional_batch_norm_keeps_number_format_and_memory_format(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    layer, label = ConditionalBatchNorm(8, 4), torch.tensor([0, 3, 1, 0, 2, 3])
    nn.init.normal_(layer.gain.weight)
    nn.init.normal_(layer.bias.weight)
    x = torch.randn(6, 8, 5, 7).to(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype != torch.float32):
        found = layer(x.to(dtype), label)
    assert found.dtype == dtype
    assert found.is_contiguous(memory_format=torch.channels_last)
    found.float().sum().backward()
    assert layer.gain.weight.grad is not None
    assert layer.gain.weight.grad.dtype == torch.float32
    tolerance = 1e-5 if dtype == torch.float32 else 0.1
    torch.testing.assert_close(found.float(), layer(x, label), rtol=tolerance, atol=tolerance)


def test_conditional_batch_norm_can_be_differentiated_twice() -> None:
    torch.manual_seed(0)
    layer, label = ConditionalBatchNorm(2, 3).double(), torch.tensor([0, 2, 2, 1])
    nn.init.normal_(layer.gain.weight)
    x = torch.randn(4, 2, 2, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(lambda x: layer(x, label), x)


def test_conditional_batch_norm_is_synchronised_as_plain_batch_norm_is() -> None:
    layer = ConditionalBatchNorm(2, 3)
    synchronised = nn.SyncBatchNorm.convert_sync_batchnorm(copy.deepcopy(layer))
    assert isinstance(synchronised.norm, nn.SyncBatchNorm)
    assert synchronised.state_dict().keys() == layer.state_dict().keys()


def test_other_dimensions_are_refused() -> None:
    with pytest.raises(ValueError, match="dimensions = 3, and 1 and 2 are allowed"):
        ConditionalBatchNorm(3, 4, 3)


def test_projection_is_an_inner_product() -> None:
    torch.manual_seed(0)
    layer = Projection(5, 3)
    features, label = torch.randn(4, 5), torch.tensor([2, 0, 2, 1])
    expected = torch.stack(
        [layer.embedding.weight[of] @ row for row, of in zip(features, label, strict=True)]
    )
    torch.testing.assert_close(layer(features, label), expected)
    assert sum(p.numel() for p in layer.parameters()) == 5 * 3
    # Of the order of 1 where the features are.
    large = Projection(1024, 256)(torch.randn(256, 1024), torch.arange(256))
    assert 0.8 < large.std() < 1.25


def test_a_projection_can_be_differentiated_twice() -> None:
    """As gradient penalties do, with the label held: the gradient by x of v·x² is 2 v x, in closed form."""
    torch.manual_seed(0)
    layer = Projection(3, 2)
    x, label = torch.randn(4, 3, requires_grad=True), torch.tensor([0, 1, 1, 0])
    score: Tensor = layer(x**2, label)
    (gradient,) = torch.autograd.grad(score.sum(), x, create_graph=True)
    v = layer.embedding.weight[label]
    torch.testing.assert_close(gradient, 2 * v * x)
    (by_v,) = torch.autograd.grad(gradient.square().sum(), layer.embedding.weight)
    expected = torch.zeros(2, 3).index_add(0, label, 8 * v * x**2)
    torch.testing.assert_close(by_v, expected)


def test_a_class_lies_beside_the_latents() -> None:
    latents = torch.tensor([[0.5, -1.0], [2.0, 3.0]])
    found = with_label(latents, torch.tensor([2, 0]), 3)
    assert found.tolist() == [[0.5, -1.0, 0.0, 0.0, 1.0], [2.0, 3.0, 1.0, 0.0, 0.0]]
    # A linear layer on it adds the embedding of the class, its weights of that place.
    layer = nn.Linear(5, 4)
    own = latents @ layer.weight[:, :2].T + layer.bias
    torch.testing.assert_close(layer(found), own + layer.weight[:, 2:].T[torch.tensor([2, 0])])
