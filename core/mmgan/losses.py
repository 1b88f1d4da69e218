"""Adversarial losses and gradient penalties, each with its paper and its formula.

In the formulas r and f are a discriminator's raw scores (logits) of real and fake data, of any shape; E is
the mean over **every** element (a PatchGAN gives many scores for a picture); s is the label smoothing.
Everything is computed in float32 at least: bf16 and fp16 are widened first.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import ClassVar, Protocol

import torch
from torch import Tensor
from torch.nn.functional import relu, softplus

from mmgan.errors import ConfigError, UsageError, did_you_mean


class AdversarialLoss(ABC):
    """What a discriminator and a generator minimise, from raw scores.

    Attributes:
        name: The name in a config.
        needs_real: The generator's loss needs the scores of real data too.
    """

    name: ClassVar[str]
    needs_real: ClassVar[bool] = False

    @abstractmethod
    def discriminator(self, real: Tensor, fake: Tensor, smoothing: float = 0.0) -> Tensor:
        """Return the discriminator's loss: the **sum** of its terms for real and fake data.

        Args:
            real: Scores of real data, (batch, ...).
            fake: Scores of fake data, (batch, ...).
            smoothing: One-sided label smoothing (Salimans et al. 2016), in [0, 1): real data's target becomes
                1 - smoothing, fake data's target stays.

        Returns:
            A scalar of float32 (float64 for float64 scores).

        Raises:
            ConfigError: Smoothing is not 0 and the loss has no targets (``hinge``, ``wgan``).
        """

    @abstractmethod
    def generator(self, fake: Tensor, real: Tensor | None = None) -> Tensor:
        """Return the generator's loss.

        Args:
            fake: Scores of fake data, (batch, ...).
            real: Scores of real data, (batch, ...); used only where ``needs_real`` is true.

        Returns:
            A scalar of float32 (float64 for float64 scores).

        Raises:
            UsageError: ``needs_real`` is true and ``real`` is missing.
        """


class NonSaturating(AdversarialLoss):
    """The GAN with the generator's loss that is used in practice (Goodfellow et al. 2014, section 3).

    It is DCGAN's binary cross-entropy: at zero scores the discriminator's loss is 2 log 2 = 1.386.
    """

    name = "nonsaturating"

    def discriminator(self, real: Tensor, fake: Tensor, smoothing: float = 0.0) -> Tensor:
        """Return -E[(1 - s) log sigmoid(r) + s log(1 - sigmoid(r))] - E[log(1 - sigmoid(f))]."""
        return _called_real(real, smoothing) + _called_fake(fake)

    def generator(self, fake: Tensor, real: Tensor | None = None) -> Tensor:
        """Return -E[log sigmoid(f)]."""
        return _called_real(fake)


class Minimax(NonSaturating):
    """The GAN as a zero-sum game (Goodfellow et al. 2014, equation 1).

    The discriminator's loss is that of ``nonsaturating``.
    """

    name = "minimax"

    def generator(self, fake: Tensor, real: Tensor | None = None) -> Tensor:
        """Return E[log(1 - sigmoid(f))], whose gradient vanishes where the discriminator is sure."""
        return -_called_fake(fake)


class LeastSquares(AdversarialLoss):
    """LSGAN with the targets 0 and 1 (Mao et al. 2017, without its factors 1/2)."""

    name = "lsgan"

    def discriminator(self, real: Tensor, fake: Tensor, smoothing: float = 0.0) -> Tensor:
        """Return E[(r - (1 - s))²] + E[f²]."""
        return _squared_error(real, 1 - smoothing) + _squared_error(fake, 0)

    def generator(self, fake: Tensor, real: Tensor | None = None) -> Tensor:
        """Return E[(f - 1)²]."""
        return _squared_error(fake, 1)


class Hinge(AdversarialLoss):
    """The hinge loss (Lim and Ye 2017, Geometric GAN; Miyato et al. 2018, SNGAN)."""

    name = "hinge"

    def discriminator(self, real: Tensor, fake: Tensor, smoothing: float = 0.0) -> Tensor:
        """Return E[max(0, 1 - r)] + E[max(0, 1 + f)]."""
        _refuse_smoothing(self.name, smoothing)
        return relu(1 - _wide(real)).mean() + relu(1 + _wide(fake)).mean()

    def generator(self, fake: Tensor, real: Tensor | None = None) -> Tensor:
        """Return -E[f]."""
        return -_wide(fake).mean()


class Wasserstein(AdversarialLoss):
    """WGAN (Arjovsky et al. 2017); weight clipping or a penalty must keep its critic Lipschitz."""

    name = "wgan"

    def discriminator(self, real: Tensor, fake: Tensor, smoothing: float = 0.0) -> Tensor:
        """Return E[f] - E[r]."""
        _refuse_smoothing(self.name, smoothing)
        return _wide(fake).mean() - _wide(real).mean()

    def generator(self, fake: Tensor, real: Tensor | None = None) -> Tensor:
        """Return -E[f]."""
        return -_wide(fake).mean()


class RelativisticAverage(AdversarialLoss):
    """The relativistic average GAN with cross-entropy (Jolicoeur-Martineau 2018, RaSGAN).

    Its scores are relative: u = r - E[f] and v = f - E[r].
    """

    name = "ragan"
    needs_real = True

    def discriminator(self, real: Tensor, fake: Tensor, smoothing: float = 0.0) -> Tensor:
        """Return -E[(1 - s) log sigmoid(u) + s log(1 - sigmoid(u))] - E[log(1 - sigmoid(v))]."""
        real, fake = _wide(real), _wide(fake)  # before the difference, which could overflow fp16
        return _called_real(real - fake.mean(), smoothing) + _called_fake(fake - real.mean())

    def generator(self, fake: Tensor, real: Tensor | None = None) -> Tensor:
        """Return -E[log sigmoid(v)] - E[log(1 - sigmoid(u))]: real and fake change places."""
        if real is None:
            raise UsageError(
                "The generator's loss of 'ragan' needs the scores of real data.",
                hint="Call loss.generator(fake, real) where loss.needs_real is true.",
            )
        return self.discriminator(fake, real)


LOSSES: dict[str, AdversarialLoss] = {
    loss.name: loss
    for loss in (Minimax(), NonSaturating(), LeastSquares(), Hinge(), Wasserstein(), RelativisticAverage())
}


def adversarial_loss(name: str) -> AdversarialLoss:
    """Return the adversarial loss of that name.

    Raises:
        ConfigError: There is none; the message lists those that there are.
    """
    if name not in LOSSES:
        raise _unknown("adversarial loss", name, LOSSES)
    return LOSSES[name]


PENALTIES = ("none", "wgan-gp", "r1", "r2", "zero-gp")


class Differentiator(Protocol):
    """What a penalty needs of a run: the gradient of a critic at its inputs, safe under mixed precision."""

    def grad(self, critic: Callable[[Tensor], Tensor], inputs: Tensor, /) -> tuple[Tensor, Tensor]:
        """Return ``critic(inputs)`` and d(its sum)/d(inputs), itself differentiable; inputs require grad."""
        ...


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

    Args:
        name: One of ``PENALTIES``.
        run: Computes the gradient.
        critic: Maps data to scores, each from its own sample alone: batch norm breaks the norm per sample.
        real: Real data, (batch, ...).
        fake: Fake data, of real's shape. No gradient reaches what made it.

    Returns:
        A scalar of float32 (float64 for a float64 gradient), differentiable in the critic's weights.

    Raises:
        ConfigError: There is no such penalty; the message lists those that there are.
        UsageError: Real and fake data differ in shape, and the penalty interpolates between them.
    """
    match name:
        case "none":
            return real.new_zeros((), dtype=torch.float32)
        case "wgan-gp":
            return gradient_penalty(run.grad(critic, interpolate(real, fake))[1])
        case "zero-gp":
            return gradient_penalty(run.grad(critic, interpolate(real, fake))[1], target=0.0)
        case "r1":
            return r1_penalty(run.grad(critic, real.detach().requires_grad_())[1])
        case "r2":
            return r1_penalty(run.grad(critic, fake.detach().requires_grad_())[1])
        case _:
            raise _unknown("penalty", name, PENALTIES)


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


def _wide(tensor: Tensor) -> Tensor:
    """Return the tensor in float32, or in float64 if it was so."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def _per_sample(gradient: Tensor) -> Tensor:
    """Return the gradient as (batch, elements of a sample), widened before anything is squared."""
    return _wide(gradient).reshape(len(gradient), -1)


def _called_real(logits: Tensor, smoothing: float = 0.0) -> Tensor:
    """Return the mean cross-entropy with the target 1 - smoothing."""
    # -log sigmoid(x) = softplus(-x) and -log(1 - sigmoid(x)) = softplus(-x) + x: neither overflows.
    logits = _wide(logits)
    loss = softplus(-logits).mean()
    return loss + smoothing * logits.mean() if smoothing else loss


def _called_fake(logits: Tensor) -> Tensor:
    """Return the mean cross-entropy with the target 0: softplus(x) = -log(1 - sigmoid(x))."""
    return softplus(_wide(logits)).mean()


def _squared_error(scores: Tensor, target: float) -> Tensor:
    return (_wide(scores) - target).square().mean()


def _refuse_smoothing(name: str, smoothing: float) -> None:
    if smoothing:
        raise ConfigError(
            f"The loss {name!r} has no targets to smooth, but smoothing is {smoothing}.",
            hint="Set smoothing to 0, or choose minimax, nonsaturating, lsgan or ragan.",
        )


def _unknown(kind: str, name: str, allowed: Iterable[str]) -> ConfigError:
    names = list(allowed)
    return ConfigError(
        f"There is no {kind} {name!r}; allowed are {', '.join(names)}.", hint=did_you_mean(name, names)
    )
