"""CycleGAN's game: Zhu et al. 2017, *Unpaired Image-to-Image Translation using Cycle-Consistent
Adversarial Networks*.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import l1_loss

from mmgan import ImageSamples, Phase, Player, Samples, Stage, Task
from mmgan.augment import augment_for
from mmgan.data.pairs import UnpairedData, open_unpaired
from mmgan.losses import Objective, shifted
from mmgan.metrics.features import RandomFeatures
from mmgan.metrics.image import image_scores
from mmgan.metrics.scores import Scores, check_best
from mmgan_translation.config import CycleGANConfig
from mmgan_translation.game import CHUNK, TranslationTask, per_picture, some, strips
from mmgan_translation.pool import ReplayPool
from mmgan_translation.scores import differences

#: Pictures of each side that are compared by default.
COMPARED = 1000


class Translated(NamedTuple):
    """The generators' outputs for a batch."""

    fake_a: Tensor
    fake_b: Tensor
    #: A to B and back.
    back_a: Tensor
    #: B to A and back.
    back_b: Tensor
    #: BtoA applied to A, which should be A; None without identity loss.
    same_a: Tensor | None
    #: AtoB applied to B, which should be B.
    same_b: Tensor | None


class CycleGAN(TranslationTask[CycleGANConfig]):
    """Two generators, there and back, and a discriminator for each side, on unpaired pictures."""

    Config = CycleGANConfig
    best_score = "kernel_random"
    directions = ("AtoB", "BtoA")

    @property
    def stages(self) -> tuple[Stage, ...]:
        """Both generators first, then both discriminators, as in the paper's code."""
        return (Stage("train", (Phase("G", "G"), Phase("D", "D", repeat=self.config.critic_steps))),)

    def build(self) -> dict[str, Player]:
        """Make the four networks, with one Adam for both generators and one for both discriminators."""
        c, a, b = self.config, self.input_channels, self.config.channels
        self.run.sample_count = 8
        # Real and fake pictures pass together unless batch norm would mix them.
        joined = c.norm != "batch"
        self.objectives = {
            side: Objective(c, self.run, joined, augment_for(c, self.run), shifted, f"objective {side}")
            for side in "AB"
        }
        self.pool_a, self.pool_b = ReplayPool(c.pool), ReplayPool(c.pool)
        self.g = nn.ModuleDict({"AtoB": c.make_generator(a, b), "BtoA": c.make_generator(b, a)})
        self.d = nn.ModuleDict({"A": c.make_discriminator(a), "B": c.make_discriminator(b)})
        return {
            "G": self.player(self.g, ema=c.ema),
            "D": self.player(
                self.d, c.d_lr, clip_weights=c.clip_weights or None, compile=c.penalty == "none"
            ),
        }

    def data(self) -> UnpairedData:
        """Open the two sides: two unpaired batches, (batch, channels, size, size) in [-1, 1].

        Raises:
            ConfigError: The run is to be evaluated, and there are too few pictures for its best score.
        """
        data = open_unpaired(lambda: self.run.open_data("images"), self.config, self.run.progress)
        # The kernel distance needs pairs within a side.
        check_best(self, min(data.count_a, data.count_b), 1, "picture")
        return data

    def forward(self, batch: tuple[Tensor, Tensor]) -> Translated:
        """Translate both sides, there and back, and, with identity loss, each into itself."""
        a, b = batch
        if self.config.identity_weight and self.config.cycle_weight:
            fake_b, same_b = self.together(self.g["AtoB"], a, b)
            fake_a, same_a = self.together(self.g["BtoA"], b, a)
        else:
            fake_b, fake_a, same_a, same_b = self.g["AtoB"](a), self.g["BtoA"](b), None, None
        return Translated(fake_a, fake_b, self.g["BtoA"](fake_b), self.g["AtoB"](fake_a), same_a, same_b)

    def loss(self, phase: str, batch: tuple[Tensor, Tensor], made: Translated) -> dict[str, Tensor]:
        """Return the generators' adversarial, cycle and identity losses, or the discriminators' losses."""
        a, b = batch
        if phase == "D":
            return {
                **self.judged("A", a, self.pool_a.exchange(made.fake_a)),
                **self.judged("B", b, self.pool_b.exchange(made.fake_b)),
            }
        weight = self.config.cycle_weight
        losses = {
            "G/AtoB": self.objectives["B"].generator(self.d["B"], b, made.fake_b)["G/adv"],
            "G/BtoA": self.objectives["A"].generator(self.d["A"], a, made.fake_a)["G/adv"],
            "G/cycle": weight * (l1_loss(made.back_a.float(), a) + l1_loss(made.back_b.float(), b)),
        }
        if made.same_a is not None and made.same_b is not None:
            same = l1_loss(made.same_a.float(), a) + l1_loss(made.same_b.float(), b)
            losses["G/identity"] = weight * self.config.identity_weight * same
        return losses

    def judged(self, side: str, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
        """Return one discriminator's losses, the adversarial one halved as in the paper."""
        judge = self.d[side]
        losses = self.objectives[side].discriminator(per_picture(judge), real, fake, patches=judge)
        losses["D/adv"] = losses["D/adv"] / 2
        return {name.replace("D/", f"D/{side}_"): loss for name, loss in losses.items()}

    def together(self, network: nn.Module, *pictures: Tensor) -> tuple[Tensor, ...]:
        """Pass sets of pictures through a network, together unless batch norm would mix them."""
        if self.config.norm == "batch":
            return tuple(network(each) for each in pictures)
        results: Tensor = network(torch.cat(pictures))
        return results.chunk(len(pictures))

    def generator(self, direction: str) -> nn.Module:
        """Return the generator of that direction."""
        generators = cast(nn.ModuleDict, self.run.players["G"].sampler)
        return generators[direction]

    def translated(self, a: Tensor, b: Tensor) -> ImageSamples:
        """Show pictures of each side as strips of A | as B | back | B | as A | back."""
        fake_b, fake_a = self.translate(a, "AtoB"), self.translate(b, "BtoA")
        back_a, back_b = self.translate(fake_b, "BtoA"), self.translate(fake_a, "AtoB")
        return strips(a, fake_b, back_a, b, fake_a, back_b)

    def sample_chunks(self, n: int, prompt: str = "") -> Iterator[Samples]:
        """Translate in chunks; with noise, which is drawn network by network, all at once."""
        noisy = self.config.dropout == "always"
        return Task.sample_chunks(self, n) if noisy else super().sample_chunks(n)

    def evaluate(self, n: int) -> dict[str, float]:
        """Score the translations of up to ``n`` pictures of each side (0: at most 1,000).

        The cycle is measured on the validation part, distances between sets on the larger training part, as
        in the other games on pictures.
        """
        cycles: list[tuple[float, float]] = []
        for part in torch.split(self.spread(n or COMPARED), CHUNK):
            a, b = self.run.dataset.validation(part)
            back_a = self.translate(self.translate(a, "AtoB"), "BtoA")
            back_b = self.translate(self.translate(b, "BtoA"), "AtoB")
            cycles += zip(differences(back_a, a), differences(back_b, b), strict=True)
        means = [sum(side) / len(cycles) for side in zip(*cycles, strict=True)]
        scores = Scores(dict(zip(("cycle_l1_a", "cycle_l1_b"), means, strict=True)))
        data: UnpairedData = self.run.dataset
        n = min(n or COMPARED, data.count_a, data.count_b)
        features, metrics = RandomFeatures(), self.run.metrics("images")
        chosen_a, chosen_b = some(data.count_a, n), some(data.count_b, n)
        for way, source, real, inputs, others in (
            ("AtoB", data.training_a, data.training_b, chosen_a, chosen_b),
            ("BtoA", data.training_b, data.training_a, chosen_b, chosen_a),
        ):
            found = image_scores(
                (self.translate(source(part), way) for part in torch.split(inputs, CHUNK)),
                map(real, torch.split(others, CHUNK)),
                features,
                self.run.device.torch,
                metrics,
            )
            scores.include(found, f"{way}_")
        ways = [f"{way}_{self.best_score}" for way in self.directions]
        if all(way in scores for way in ways):
            scores[self.best_score] = sum(scores[way] for way in ways) / len(ways)
        else:
            scores.missing[self.best_score] = next(scores.missing[way] for way in ways if way not in scores)
        return scores

    def state_dict(self) -> dict[str, Any]:
        """Return the replay pools."""
        return {"pool_a": self.pool_a.state_dict(), "pool_b": self.pool_b.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the replay pools."""
        shape = (self.config.channels, self.config.size, self.config.size)
        self.pool_a.load_state_dict(state["pool_a"], shape, self.run.device.torch)
        self.pool_b.load_state_dict(state["pool_b"], shape, self.run.device.torch)
