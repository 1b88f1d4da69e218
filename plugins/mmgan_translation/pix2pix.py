"""pix2pix's game: Isola et al. 2017, *Image-to-Image Translation with Conditional Adversarial
Networks*.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import l1_loss

from mmgan import ImageSamples, Player, Stage
from mmgan.data.pairs import PairData, open_pairs
from mmgan.losses import Objective
from mmgan.metrics.scores import Scores
from mmgan_translation.config import Pix2PixConfig
from mmgan_translation.game import CHUNK, TranslationTask, per_picture, some, strips
from mmgan_translation.scores import WITHOUT_TORCHMETRICS, WithoutLearning, means, pair_scores


class Pix2Pix(TranslationTask[Pix2PixConfig]):
    """D distinguishes real pairs from pairs with a generated half; G fools it and stays near the target."""

    Config = Pix2PixConfig
    best_score = "l1"

    @property
    def stages(self) -> tuple[Stage, ...]:
        """D first, then G, as in the paper."""
        return self.config.stages

    @property
    def directions(self) -> tuple[str, ...]:
        """The direction that it is trained in."""
        return (self.config.direction,)

    def build(self) -> dict[str, Player]:
        """Make G and D, each with Adam."""
        c = self.config
        self.run.sample_count = 8
        self.objective = Objective(c, self.run)
        self.g = c.make_generator(self.input_channels, c.channels)
        self.d = c.make_discriminator(self.input_channels + c.channels)
        return {
            "G": self.player(self.g, ema=c.ema),
            "D": self.player(
                self.d, c.d_lr, clip_weights=c.clip_weights or None, compile=c.penalty == "none"
            ),
        }

    def data(self) -> PairData:
        """Open the pairs: two of (batch, channels, size, size) in [-1, 1]."""
        return open_pairs(lambda: self.run.open_data("images"), self.config, self.run.progress)

    def forward(self, pair: tuple[Tensor, Tensor]) -> Tensor:
        """Translate the pictures of a step once: D learns from the fakes, G then through the same graph."""
        source, _ = self.oriented(pair)
        fake: Tensor = self.g(source)
        return fake

    def loss(self, phase: str, pair: tuple[Tensor, Tensor], fake: Tensor) -> dict[str, Tensor]:
        """Return half of D's loss on pairs, or G's adversarial and L1 losses."""
        source, target = self.oriented(pair)

        def judge(pictures: Tensor) -> Tensor:
            scores: Tensor = self.d(torch.cat([source, pictures], 1))
            return scores

        if phase == "D":
            fake = fake.detach()
            losses = self.objective.discriminator(per_picture(judge), target, fake, patches=judge)
            # "We divide the objective by 2 while optimizing D, which slows down the rate at which D learns."
            return losses | {"D/adv": losses["D/adv"] / 2}
        losses = self.objective.generator(judge, target, fake)
        return losses | {"G/l1": self.config.l1_weight * l1_loss(fake.float(), target)}

    def oriented(self, pair: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Return source and target of a pair (A, B)."""
        a, b = pair
        return (a, b) if self.config.direction == "AtoB" else (b, a)

    def generator(self, direction: str) -> nn.Module:
        """Return G."""
        return self.run.players["G"].sampler

    def translated(self, a: Tensor, b: Tensor) -> ImageSamples:
        """Show pairs as strips of input | output | target."""
        source, target = self.oriented((a, b))
        return strips(self.shown(source), self.translate(source, self.config.direction), target)

    def evaluate(self, n: int) -> dict[str, float]:
        """Compare up to ``n`` translated validation pictures (0: at most 1,000) with their targets."""
        data: PairData = self.run.dataset
        known = some(len(data), 2000)
        without = WithoutLearning(
            (self.oriented(data.training(part)) for part in torch.split(known, CHUNK)),
            lambda numbers: self.oriented(data.training(known[numbers]))[1],
        )
        rows, of_input = [], []
        for part in torch.split(self.spread(n or 1000), CHUNK):
            source, target = self.oriented(data.validation(part))
            results = pair_scores(self.translate(source, self.config.direction), target)
            rows += [a | b for a, b in zip(results, without.scores(source, target), strict=True)]
            if self.derivation:
                of_input += pair_scores(self.shown(source), target)
        scores = Scores(means(rows) | (means(of_input, "_of_input") if of_input else {}))
        if "psnr" not in scores:
            scores.missing |= dict.fromkeys(("psnr", "ssim"), WITHOUT_TORCHMETRICS)
        return scores
