"""SeqGAN's adversarial iteration, and its rewards alone, without mmgan's engine: see ``same.py``."""

from __future__ import annotations

import torch
from same import Loop
from torch import Tensor
from torch.nn import functional as F

from mmgan_convolutions.layers import choose
from mmgan_seqgan.negatives import Negatives
from mmgan_seqgan.networks import Discriminator, Generator
from mmgan_seqgan.rollouts import generate, rewards


class SeqGAN(Loop):
    """One update of G by policy gradient, then D's on a round of new negatives."""

    def build(self) -> None:
        """Make G and D, each with its learning rate."""
        c = self.config
        self.g = Generator(c.vocabulary, c.embedding, c.hidden, c.generator, length=c.length)
        self.d = Discriminator(c.vocabulary, c.length, dropout=c.dropout)
        choose(self.d, self.plan)
        self.g_opt = torch.optim.Adam(self.g.parameters(), c.lr, fused=True)
        self.d_opt = torch.optim.Adam(self.d.parameters(), c.d_lr, fused=True)
        self.negatives = Negatives(c, self.write)
        self.updates = 0

    def write(self, count: int) -> Tensor:
        """Let G write sequences, as it is now: int64 (count, length)."""
        return generate(self.g, count, self.config.length)

    def step(self) -> None:
        """Update G once, and D on all negatives."""
        batch = self.batch()
        self.update_g(len(batch))
        for turn in range(self.config.iteration_steps):
            self.update_d(batch if turn == 0 else self.batch())

    def update_g(self, count: int) -> None:
        """Update G once, by sequences that it writes."""
        c = self.config
        self.d.requires_grad_(False)
        self.g_opt.zero_grad()
        with self.autocast():
            tokens = self.write(count)
            value = rewards(self.g, self.d, tokens, c.rollouts, c.rollout_rows)
            logits = self.g(tokens).flatten(0, 1).float()
            losses = F.cross_entropy(logits, tokens.flatten(), reduction="none").view(tokens.shape)
            loss = (losses * value).sum()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.g.parameters(), c.clip_norm)
        self.g_opt.step()
        self.d.requires_grad_(True)

    def update_d(self, batch: Tensor) -> None:
        """Update D once, by as many real sequences as generated ones."""
        real, fake = batch[: self.config.share], self.negatives.batch(self.updates)
        kinds = torch.cat([torch.ones_like(real[:, 0]), torch.zeros_like(fake[:, 0])])
        self.d_opt.zero_grad()
        with self.autocast():
            output = self.d.output
            decay = output.weight.square().sum() + output.bias.square().sum()
            loss = F.cross_entropy(self.d(torch.cat([real, fake])), kinds) + self.config.l2 / 2 * decay
        loss.backward()
        self.d_opt.step()
        self.updates += 1


class Rewards(SeqGAN):
    """The rewards of a batch of sequences."""

    def build(self) -> None:
        """Make the networks, and the sequences that are judged."""
        super().build()
        self.tokens = torch.randint(self.config.vocabulary, (self.config.batch_size, self.config.length))

    def step(self) -> None:
        """Compute the rewards."""
        with self.autocast():
            rewards(self.g, self.d, self.tokens, self.config.rollouts, self.config.rollout_rows)
