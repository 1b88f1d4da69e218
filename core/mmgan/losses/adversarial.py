"""Adversarial losses, each with its paper and its formula.

In the formulas r and f are a discriminator's raw scores (logits) of real and fake data, of any shape; E is
the mean over **every** element (a PatchGAN gives many scores for a picture); s is the label smoothing.
Everything is computed in float32 at least: bf16 and fp16 are converted first.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import relu, softplus

from mmgan.errors import ConfigError, UsageError, unknown_name


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
        """Return E[log(1 - sigmoid(f))], whose gradient vanishes if the discriminator is confident."""
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
        return relu(1 - wide(real)).mean() + relu(1 + wide(fake)).mean()

    def generator(self, fake: Tensor, real: Tensor | None = None) -> Tensor:
        """Return -E[f]."""
        return -wide(fake).mean()


class Wasserstein(AdversarialLoss):
    """WGAN (Arjovsky et al. 2017); weight clipping or a penalty must keep its critic Lipschitz."""

    name = "wgan"

    def discriminator(self, real: Tensor, fake: Tensor, smoothing: float = 0.0) -> Tensor:
        """Return E[f] - E[r]."""
        _refuse_smoothing(self.name, smoothing)
        return wide(fake).mean() - wide(real).mean()

    def generator(self, fake: Tensor, real: Tensor | None = None) -> Tensor:
        """Return -E[f]."""
        return -wide(fake).mean()


class RelativisticAverage(AdversarialLoss):
    """The relativistic average GAN with cross-entropy (Jolicoeur-Martineau 2018, RaSGAN).

    Its scores are relative: u = r - E[f] and v = f - E[r].
    """

    name = "ragan"
    needs_real = True

    def discriminator(self, real: Tensor, fake: Tensor, smoothing: float = 0.0) -> Tensor:
        """Return -E[(1 - s) log sigmoid(u) + s log(1 - sigmoid(u))] - E[log(1 - sigmoid(v))]."""
        real, fake = wide(real), wide(fake)  # before the difference, which could overflow fp16
        return _called_real(real - fake.mean(), smoothing) + _called_fake(fake - real.mean())

    def generator(self, fake: Tensor, real: Tensor | None = None) -> Tensor:
        """Return -E[log sigmoid(v)] - E[log(1 - sigmoid(u))]: real and fake swapped."""
        return self.discriminator(fake, _given(real, self.name))


class RelativisticPairing(AdversarialLoss):
    """The relativistic pairing GAN with cross-entropy (Jolicoeur-Martineau 2018, RpGAN; Huang et al. 2024).

    Each real example is paired with one fake: u = r - f, of the same place in the batch. Gradient penalties
    on real and on fake data (``r1r2``) make it converge.
    """

    name = "rpgan"
    needs_real = True

    def discriminator(self, real: Tensor, fake: Tensor, smoothing: float = 0.0) -> Tensor:
        """Return E[-(1 - s) log sigmoid(u) - s log(1 - sigmoid(u))]."""
        # In float32 before the difference, which could overflow fp16.
        return _called_real(wide(real) - wide(fake), smoothing)

    def generator(self, fake: Tensor, real: Tensor | None = None) -> Tensor:
        """Return E[-log sigmoid(-u)]: real and fake swapped."""
        return self.discriminator(fake, _given(real, self.name))


#: The adversarial losses by name.
LOSSES: dict[str, AdversarialLoss] = {
    loss.name: loss
    for loss in (
        Minimax(),
        NonSaturating(),
        LeastSquares(),
        Hinge(),
        Wasserstein(),
        RelativisticAverage(),
        RelativisticPairing(),
    )
}


def adversarial_loss(name: str) -> AdversarialLoss:
    """Return an adversarial loss by name.

    Args:
        name: A key of :data:`LOSSES`.

    Raises:
        ConfigError: The name is unknown; the message lists the choices.
    """
    if name not in LOSSES:
        raise unknown_name("adversarial loss", name, LOSSES)
    return LOSSES[name]


def wide(tensor: Tensor) -> Tensor:
    """Return the tensor in float32; float64 stays."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def _given(real: Tensor | None, name: str) -> Tensor:
    """Return the scores of real data that a generator's loss needs."""
    if real is None:
        raise UsageError(
            f"The generator's loss of {name!r} needs the scores of real data.",
            hint="Call loss.generator(fake, real) where loss.needs_real is true.",
        )
    return real


def _called_real(logits: Tensor, smoothing: float = 0.0) -> Tensor:
    """Return the mean cross-entropy with the target 1 - smoothing."""
    # -log sigmoid(x) = softplus(-x) and -log(1 - sigmoid(x)) = softplus(-x) + x: neither overflows.
    logits = wide(logits)
    loss = softplus(-logits).mean()
    return loss + smoothing * logits.mean() if smoothing else loss


def _called_fake(logits: Tensor) -> Tensor:
    """Return the mean cross-entropy with the target 0: softplus(x) = -log(1 - sigmoid(x))."""
    return softplus(wide(logits)).mean()


def _squared_error(scores: Tensor, target: float) -> Tensor:
    return (wide(scores) - target).square().mean()


def _refuse_smoothing(name: str, smoothing: float) -> None:
    if smoothing:
        raise ConfigError(
            f"The loss {name!r} has no targets to smooth, but smoothing is {smoothing}.",
            hint="Set smoothing to 0, or choose minimax, nonsaturating, lsgan, ragan or rpgan.",
        )
