"""What a game holds of an augmentation: the augmentation itself, its p, and the controller that moves it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import torch
from torch import Tensor

from mmgan.augment.base import Augmentation, Schedule
from mmgan.augment.controller import LIMIT, Controller
from mmgan.plugins.choices import mark_of

Critic = Callable[[Tensor], Tensor]


class Host(Protocol):
    """The part of a run that an augmentation needs."""

    device: Any
    ranks: Any
    step: int

    def log(self, name: str, value: Tensor | float) -> None:
        """Log a number that is not a loss."""

    def registered(self, table: str, name: str, kind: str = "") -> Any:
        """Return the object registered under a name."""


class Augment:
    """What D sees, by the settings of a run: the object that a game holds.

    Where p comes from: from ``schedule`` if there is one; else ``augment_p`` if that is set; else the
    augmentation's own schedule, or the controller of an adaptive one; else it is 1.

    Args:
        augmentation: Changes the examples.
        config: The run's settings, with those of :class:`AugmentConfig`.
        run: The run.
        schedule: p as a function of the number of steps done.

    Attributes:
        controller: What moves p by D's scores, or None.
        fixed: Whether p stays as it is, so that a step can be recorded as a CUDA graph.
    """

    def __init__(
        self, augmentation: Augmentation, config: Any, run: Host, schedule: Schedule | None = None
    ) -> None:
        self.augmentation, self.config, self.run = augmentation, config, run
        given = config.augment_p
        self.schedule = schedule or (augmentation.schedule() if given is None else None)
        self.controller: Controller | None = None
        self.warned = False
        device = run.device.torch
        if augmentation.adaptive and given is None and self.schedule is None:
            self.controller = Controller(config.augment_target, config.augment_images, device)
            augmentation.updates = self.controller.updates
            self._p = self.controller.p
        else:
            self._p = torch.full((), 1.0 if given is None else given, device=device)
        self.fixed = self.controller is None and self.schedule is None

    @property
    def p(self) -> Tensor:
        """The probability: a scalar of float32 on the run's device."""
        if self.schedule is not None:
            self._p.fill_(self.schedule(self.run.step))
        return self._p

    def critic(self, critic: Critic) -> Critic:
        """Return a critic of augmented examples: for real and generated ones, for both together, for G's
        update and for penalties.

        Args:
            critic: From examples (batch, …) to scores.
        """
        return lambda examples: critic(self.see(examples))

    def see(self, examples: Tensor) -> Tensor:
        """Return examples (batch, …) as D sees them."""
        # A copy: what is computed with p may be needed for gradients after p was moved.
        return self.augmentation.see(examples, self.p.clone())

    def real(self, real: Tensor, fake: Tensor) -> Tensor:
        """Return what D is shown as real, before :meth:`critic` augments it: with APA, some fakes among them.

        Args:
            real: Real examples (batch, …).
            fake: As many generated ones; no gradient reaches their generator.
        """
        return self.augmentation.real(real, fake, self.p.clone())

    @torch.no_grad()
    def observe(self, scores: Tensor, examples: int = 0) -> None:
        """Take in D's scores of real examples: to be called once in each update of D, on all ranks.

        ``augment/r_t``, their mean sign, is logged, and ``augment/p`` where it moves.

        Args:
            scores: Raw scores of augmented real examples, (batch, …).
            examples: How many examples they are of; 0: one for each score along the first axis.
        """
        # A score that is not a number says nothing; under fp16 its update is skipped.
        sign = self.run.ranks.mean(scores.detach().float().sign().mean().nan_to_num())
        self.run.log("augment/r_t", sign)
        if self.controller is not None:
            self.controller.observe(sign, (examples or len(scores)) * self.run.ranks.world)
            self._warn_at_the_limit()
        if not self.fixed:
            self.run.log("augment/p", self.p.clone())

    def _warn_at_the_limit(self) -> None:
        """Warn once that p has reached its limit. On a GPU it is only read where the loop waits anyway."""
        logged = (self.run.step + 1) % self.config.log_every == 0
        if self.warned or not (logged or self._p.device.type == "cpu") or float(self._p) < LIMIT:
            return
        self.warned = True
        if self.run.ranks.rank == 0:
            warnings.warn(
                f"augment = {self.config.augment}: p has reached its limit of {LIMIT}, and D still tells "
                "real examples from generated ones too well. There is too little data for so strong a D: "
                "more data, a smaller D, or a lower learning rate of D may help.",
                stacklevel=2,
            )

    def state_dict(self) -> dict[str, Any]:
        """Return the state for checkpoints, the same on all ranks: which augmentation it is, the controller's
        scalars, and whether it has warned. It is empty where p is not controlled.
        """
        if self.controller is None:
            return {}
        own = {"augment": self.config.augment, "warned": self.warned}
        return {**self.controller.state_dict(), **own}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned. Where the run had another augmentation, or a p that was
        not controlled, p begins at 0.

        Raises:
            ValueError: It is not such a state.
        """
        if self.controller is None or state == {}:
            return
        if not isinstance(state, Mapping) or not isinstance(state.get("augment"), str):
            raise ValueError("the state of an augmentation does not say which one it is of")
        if state["augment"] != self.config.augment:
            return
        if not isinstance(state.get("warned"), bool):
            raise ValueError("the state of an augmentation does not say whether it has warned")
        own = ("augment", "warned")
        self.controller.load_state_dict({name: value for name, value in state.items() if name not in own})
        self.warned = bool(state["warned"])


def augment_for(config: Any, run: Host, schedule: Schedule | None = None) -> Augment | None:
    """Return what D sees by a run's settings, or None where it sees the examples as they are.

    Args:
        config: The settings, with those of :class:`AugmentConfig`; others have no augmentation.
        run: The run, ``task.run``.
        schedule: p as a function of the number of steps done, instead of a controller.

    Raises:
        ConfigError: A setting is not allowed.
        PluginError: No plugin registered such an augmentation.
    """
    name = getattr(config, "augment", "none")
    if name == "none":
        return None
    mark = mark_of(type(config).model_fields["augment"])
    augmentation = run.registered("augmentations", name, mark.kind if mark else "")(config)
    return Augment(augmentation, config, run, schedule)
