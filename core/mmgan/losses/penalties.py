"""Gradient penalties on a discriminator, each with its paper and its formula.

E is the mean over the samples of a batch. Everything is computed in float32 at least.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from mmgan.errors import UsageError, unknown_name
from mmgan.losses.adversarial import wide

#: The names that :func:`penalty` takes.
PENALTIES = ("none", "wgan-gp", "r1", "r2", "r1r2", "zero-gp")

Critic = Callable[[Tensor], Tensor]


class Differentiator(Protocol):
    """The part of a run that a penalty needs: a critic's gradient at its inputs, safe in mixed precision."""

    def grad(self, critic: Callable[[Tensor], Tensor], inputs: Tensor, /) -> tuple[Tensor, Tensor]:
        """Return a critic's outputs and the gradient of their sum with respect to the inputs.

        Args:
            critic: Maps inputs to scores; each score depends on its own sample only.
            inputs: (batch, …), requiring gradients.

        Returns:
            ``critic(inputs)``, and the gradient: float32, of the inputs' shape, differentiable again.
        """
        ...


#: From (run, critic, real, fake) to a scalar that is differentiable in the critic's weights.
Penalty = Callable[[Differentiator, Critic, Tensor, Tensor], Tensor]


def penalty(
    name: str, run: Differentiator, critic: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor
) -> Tensor:
    """Return a critic's gradient penalty, before the caller's weight (λ, or gamma for r1 and r2).

    | name      | g = ∇critic at   | penalty         | paper                                    |
    |-----------|------------------|-----------------|------------------------------------------|
    | `none`    | nowhere          | 0               |                                          |
    | `wgan-gp` | ``interpolate``  | E[(‖g‖ - 1)²]   | Gulrajani et al. 2017, λ = 10            |
    | `zero-gp` | ``interpolate``  | E[‖g‖²]         | Thanh-Tung et al. 2019                   |
    | `r1`      | real data        | E[‖g‖²] / 2     | Mescheder et al. 2018                    |
    | `r2`      | fake data        | E[‖g‖²] / 2     | Mescheder et al. 2018                    |
    | `r1r2`    | both             | `r1` + `r2`     | Huang et al. 2024                        |

    Args:
        name: One of ``PENALTIES``.
        run: Computes the gradient.
        critic: Maps data to scores; each score depends on its own sample only, so no batch norm.
        real: Real data, (batch, ...).
        fake: Fake data, of real's shape. No gradient reaches the generator.

    Returns:
        A scalar of float32 (float64 for a float64 gradient), differentiable in the critic's weights.

    Raises:
        ConfigError: The name is unknown; the message lists the choices.
        UsageError: Real and fake data differ in shape, and the penalty interpolates between them.
    """
    if name not in PENALTIES:
        raise unknown_name("penalty", name, PENALTIES)
    return _FUNCTIONS[name](run, critic, real, fake)


def none(run: Differentiator, critic: Critic, real: Tensor, fake: Tensor) -> Tensor:
    """Return 0."""
    return real.new_zeros((), dtype=torch.float32)


def wgan_gp(run: Differentiator, critic: Critic, real: Tensor, fake: Tensor) -> Tensor:
    """Return E[(‖g‖ - 1)²] between real and fake data (Gulrajani et al. 2017)."""
    return gradient_penalty(run.grad(critic, interpolate(real, fake))[1])


def r1(run: Differentiator, critic: Critic, real: Tensor, fake: Tensor) -> Tensor:
    """Return E[‖g‖²] / 2 at real data (Mescheder et al. 2018)."""
    return r1_penalty(run.grad(critic, real.detach().requires_grad_())[1])


def r2(run: Differentiator, critic: Critic, real: Tensor, fake: Tensor) -> Tensor:
    """Return E[‖g‖²] / 2 at fake data (Mescheder et al. 2018)."""
    return r1_penalty(run.grad(critic, fake.detach().requires_grad_())[1])


def zero_gp(run: Differentiator, critic: Critic, real: Tensor, fake: Tensor) -> Tensor:
    """Return E[‖g‖²] between real and fake data (Thanh-Tung et al. 2019)."""
    return gradient_penalty(run.grad(critic, interpolate(real, fake))[1], target=0.0)


def r1r2(run: Differentiator, critic: Critic, real: Tensor, fake: Tensor) -> Tensor:
    """Return the sum of :func:`r1` and :func:`r2` (Huang et al. 2024)."""
    return r1(run, critic, real, fake) + r2(run, critic, real, fake)


def joined_r1r2(
    run: Differentiator, critic: Critic, real: Tensor, fake: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Compute :func:`r1r2` by one pass of real and fake data together, whose scores serve the loss too.

    Args:
        run: Computes the gradient.
        critic: Takes real and fake data as one batch, real data first.
        real: Real data, (batch, ...).
        fake: Fake data, of real's shape.

    Returns:
        The scores of real data and of fake data, and the penalty.
    """
    both = torch.cat([real, fake]).detach().requires_grad_()
    scores, gradient = run.grad(critic, both)
    on_real, on_fake = scores.chunk(2)
    # The mean over twice the batch is half of the sum of both means.
    return on_real, on_fake, 2 * r1_penalty(gradient)


_FUNCTIONS: dict[str, Penalty] = {
    "none": none,
    "wgan-gp": wgan_gp,
    "r1": r1,
    "r2": r2,
    "r1r2": r1r2,
    "zero-gp": zero_gp,
}


def gradient_penalty(gradient: Tensor, target: float = 1.0) -> Tensor:
    """Return E[(‖g‖ - target)²] over the samples: WGAN-GP (Gulrajani et al. 2017), zero-centred at target 0.

    Args:
        gradient: A critic's gradient at its inputs, (batch, ...). The norm is Euclidean, of a whole sample.
        target: The norm to aim at, at least 0.

    Returns:
        A scalar of float32 (float64 for a float64 gradient). Where ‖g‖ is 0 its gradient is 0, not NaN.
    """
    # vector_norm defines its gradient at 0; the square root of a sum of squares would give NaN there.
    norms: Tensor = torch.linalg.vector_norm(_per_sample(gradient), dim=1)
    return (norms - target).square().mean()


def r1_penalty(gradient: Tensor) -> Tensor:
    """Return E[‖g‖²] / 2 over the samples: R1 at real data, R2 at fake data (Mescheder et al. 2018).

    Args:
        gradient: A critic's gradient at its inputs, (batch, ...). The norm is Euclidean, of a whole sample.

    Returns:
        A scalar of float32 (float64 for a float64 gradient), to be multiplied by gamma.
    """
    return _per_sample(gradient).square().sum(dim=1).mean() / 2


def interpolate(real: Tensor, fake: Tensor) -> Tensor:
    """Return a·real + (1 - a)·fake with one a ~ U(0, 1) for each **sample** (Gulrajani et al. 2017).

    Args:
        real: Real data, (batch, ...).
        fake: Fake data, of real's shape.

    Returns:
        A leaf that requires grad, of real's shape; a comes from torch's default generator, on real's device.

    Raises:
        UsageError: Real and fake data differ in shape (broadcasting would hide it).
    """
    if real.shape != fake.shape:
        raise UsageError(
            f"Can't interpolate: real data has the shape {tuple(real.shape)}, fake data {tuple(fake.shape)}."
        )
    alpha = torch.rand(len(real), *[1] * (real.ndim - 1), dtype=real.dtype, device=real.device)
    return (alpha * real + (1 - alpha) * fake).detach().requires_grad_()


def _per_sample(gradient: Tensor) -> Tensor:
    """Return the gradient as (batch, elements of a sample), in float32 at least before it is squared."""
    return wide(gradient).reshape(len(gradient), -1)
