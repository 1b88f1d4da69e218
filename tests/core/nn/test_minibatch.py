"""Minibatch standard deviation against numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mmgan import ConfigError
from mmgan.nn import MinibatchStddev


@pytest.mark.parametrize(("batch_size", "group"), [(8, 4), (6, 2), (4, 4), (10, 2)])
@pytest.mark.parametrize("shape", [(3, 2, 2), (5,), (2, 7)])
def test_the_deviation_of_each_group(batch_size: int, group: int, shape: tuple[int, ...]) -> None:
    x = torch.randn(batch_size, *shape)
    out = MinibatchStddev(batch_size)(x)
    assert torch.equal(out[:, :-1], x)
    for start in range(0, batch_size, group):
        expected = np.std(x[start : start + group].numpy(), axis=0).mean()
        added = out[start : start + group, -1].numpy()
        np.testing.assert_allclose(added, np.full_like(added, expected), rtol=1e-4)


def test_real_and_fake_examples_that_pass_together_do_not_meet() -> None:
    layer, real, fake = MinibatchStddev(6), torch.randn(6, 3), torch.randn(6, 3)
    torch.testing.assert_close(layer(torch.cat([real, fake])), torch.cat([layer(real), layer(fake)]))


def test_equal_examples_have_a_finite_gradient() -> None:
    x = torch.ones(4, 3, requires_grad=True)
    MinibatchStddev(4)(x).sum().backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()


def test_under_bf16_it_stays_bf16() -> None:
    assert MinibatchStddev(4)(torch.randn(4, 3, 2, 2).bfloat16()).dtype == torch.bfloat16


def test_an_odd_batch_is_refused() -> None:
    with pytest.raises(ConfigError, match="batch_size = 7 is odd"):
        MinibatchStddev(7)
