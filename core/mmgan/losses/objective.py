"""What the two players minimise, chosen by settings: adversarial loss, gradient penalty, weight clipping.

Every built-in game with one generator and one discriminator has these settings; a plugin's game may, too.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor

from mmgan.errors import ConfigError
from mmgan.losses.adversarial import LOSSES, AdversarialLoss, wide
from mmgan.losses.lecam import LeCam
from mmgan.losses.penalties import PENALTIES, Differentiator, Penalty, joined_r1r2, penalty
from mmgan.losses.settings import LossName, ObjectiveConfig, PenaltyName

Critic = Callable[[Tensor], Tensor]

__all__ = ["LossName", "Objective", "ObjectiveConfig", "PenaltyName", "View"]


class View(Protocol):
    """What D sees of examples: :class:`mmgan.augment.Augment`."""

    def critic(self, critic: Critic, /) -> Critic:
        """Return a critic of what it sees of examples."""
        ...

    def real(self, real: Tensor, fake: Tensor, /) -> Tensor:
        """Return what is shown as real."""
        ...

    def observe(self, on_real: Tensor, examples: int, /) -> None:
        """Look at the scores of so many real examples, once for each update of D."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return what moves in training."""
        ...

    def load_state_dict(self, state: Mapping[str, Any], /) -> None:
        """Restore it."""
        ...


class Registry(Differentiator, Protocol):
    """The part of a run that an objective needs.

    What follows of the run's state is only read for the settings that need it: ``step``, ``stage_step``,
    ``ranks``, ``device``, ``keep``.
    """

    def registered(self, table: str, name: str, kind: str = "") -> Any:
        """Return the object registered under a name."""


class Objective:
    """The losses that a config chooses.

    Args:
        config: The settings.
        run: Computes the penalty's gradient, and looks up losses and penalties: ``task.run``.
        joined: Whether critics take real and fake examples as one batch, real ones first: each score is of
            its example alone (no batch norm), and a condition is repeated. Weights are read once for both.
        augment: What D sees of examples, and G learns through; None: the examples themselves.
        shift: Changes examples as little as D's scores shall be consistent under, for ``config.consistency``.
        name: Of what moves in it, in checkpoints: a game with two discriminators has two objectives.

    Raises:
        ConfigError: ``config.consistency`` is greater than 0, and the game has no ``shift``.
    """

    def __init__(
        self,
        config: ObjectiveConfig,
        run: Registry,
        joined: bool = False,
        augment: View | None = None,
        shift: Callable[[Tensor], Tensor] | None = None,
        name: str = "objective",
    ) -> None:
        self.config = config
        self.run: Any = run
        self.joined, self.augment, self.shift = joined, augment, shift
        ours = LOSSES.get(config.loss)
        self.adversarial: AdversarialLoss = ours or run.registered("losses", config.loss)()
        self._penalty: Penalty = partial(penalty, config.penalty)
        if config.penalty not in PENALTIES:
            self._penalty = run.registered("penalties", config.penalty)
        if config.loss == "wgan" and config.penalty == "none" and not config.clip_weights:
            warnings.warn(
                "loss = wgan: nothing holds the critic back, so its scores may grow without end. "
                "Set penalty=wgan-gp or clip_weights=0.01.",
                stacklevel=2,
            )
        if config.consistency and shift is None:
            raise ConfigError(
                f"consistency = {config.consistency}: {config.plugin} has no shift under which its "
                "discriminator could be consistent.",
                hint="--set consistency=0",
            )
        state: Any = run
        end = config.penalty_weight_end
        self._gamma = None if end is None else config.cosine(config.penalty_weight, end)
        self.lecam = LeCam(state.device.torch, state.ranks.mean) if config.lecam else None
        if self.lecam or augment:
            state.keep(name, self)

    def discriminator(
        self,
        critic: Critic,
        real: Tensor,
        fake: Tensor,
        scores: Sequence[Tensor] = (),
        patches: Critic | None = None,
    ) -> dict[str, Tensor]:
        """Return D's loss: ``D/adv``, and ``D/penalty``, ``D/lecam``, ``D/consistency`` where they are.

        Args:
            critic: From examples (batch, ...) to raw scores.
            real: Real examples.
            fake: Generated ones; no gradient reaches the generator.
            scores: The scores of real and fake, if they are known, which is of no use to an augmentation. By
                default both pass through the critic: one after the other, so that batch norm normalises each
                separately, or ``joined``.
            patches: Gives the scores of the loss where an example has several; a penalty needs one for each.
        """
        config, fake, judge = self.config, fake.detach(), patches or critic
        if self.augment is not None:
            real, scores = self.augment.real(real, fake), ()
            critic, judge = self.augment.critic(critic), self.augment.critic(judge)
        due = config.penalty != "none" and self._is_due()
        value = None
        if scores:
            on_real, on_fake = scores
        elif self.joined and due and config.penalty == "r1r2" and patches is None:
            on_real, on_fake, value = joined_r1r2(self.run, critic, real, fake)
        elif self.joined:
            on_real, on_fake = judge(torch.cat([real, fake])).chunk(2)
        else:
            on_real, on_fake = judge(real), judge(fake)
        losses = {"D/adv": self.adversarial.discriminator(on_real, on_fake, config.smoothing)}
        if due:
            value = self._penalty(self.run, critic, real, fake) if value is None else value
            losses["D/penalty"] = self.penalty_weight * value
        if self.lecam is not None:
            losses["D/lecam"] = config.lecam * self.lecam(on_real, on_fake)
        if self.shift is not None and config.consistency:
            on_both = ((real, on_real), (fake, on_fake))
            of_real, of_fake = (_distance(judge(self.shift(x)), before) for x, before in on_both)
            losses["D/consistency"] = config.consistency * (of_real + of_fake)
        if self.augment is not None:
            self.augment.observe(on_real, len(real))
        return losses

    def generator(self, critic: Critic, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
        """Return G's loss: ``G/adv``.

        Args:
            critic: From examples (batch, ...) to raw scores.
            real: Real examples, scored only if the loss is relativistic.
            fake: Generated ones, with their graph.
        """
        if self.augment is not None:
            critic = self.augment.critic(critic)
        scores = critic(real) if self.adversarial.needs_real else None
        return {"G/adv": self.adversarial.generator(critic(fake), scores)}

    @property
    def penalty_weight(self) -> float:
        """The penalty's weight in this step; where it is computed lazily, for the steps without it too."""
        weight = self.config.penalty_weight if self._gamma is None else self._gamma(self.run.step)
        return self.config.penalty_every * weight

    def _is_due(self) -> bool:
        """Return whether the penalty is computed in this step."""
        return self.config.penalty_every == 1 or self.run.stage_step % self.config.penalty_every == 0

    def state_dict(self) -> dict[str, Any]:
        """Return what moves in training, for checkpoints."""
        parts = {"lecam": self.lecam, "augment": self.augment}
        return {name: part.state_dict() for name, part in parts.items() if part is not None}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned; what the run did not have before begins anew.

        Raises:
            ValueError: It is something else.
        """
        for name, part in (("lecam", self.lecam), ("augment", self.augment)):
            if part is not None and name in state:
                part.load_state_dict(state[name])


def _distance(scores: Tensor, others: Tensor) -> Tensor:
    return (wide(scores) - wide(others)).square().mean()
