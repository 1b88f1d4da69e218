"""pix2pix and CycleGAN without mmgan's engine: see ``same.py``."""

from __future__ import annotations

import torch
from same import Loop
from torch import Tensor, nn
from torch.nn.functional import l1_loss

from mmgan.losses import adversarial_loss
from mmgan_translation.pool import ReplayPool


class Pix2Pix(Loop):
    """D at half its gradient, then G by the same fakes."""

    def build(self) -> None:
        """Make G and D."""
        c = self.config
        self.g = c.make_generator(c.channels, c.channels)
        self.d = c.make_discriminator(2 * c.channels)
        self.g_opt, self.d_opt = self.adam(self.g), self.adam(self.d)
        self.loss = adversarial_loss("nonsaturating")

    def step(self) -> None:
        """Update D, then G."""
        source, target = self.batch()
        with self.autocast():
            fake = self.g(source)
        self.d_opt.zero_grad()
        with self.autocast():
            on_real = self.d(torch.cat([source, target], 1))
            on_fake = self.d(torch.cat([source, fake.detach()], 1))
            loss = self.loss.discriminator(on_real, on_fake) / 2
        loss.backward()
        self.d_opt.step()
        self.d.requires_grad_(False)
        self.g_opt.zero_grad()
        with self.autocast():
            loss = self.loss.generator(self.d(torch.cat([source, fake], 1)))
            loss = loss + self.config.l1_weight * l1_loss(fake.float(), target)
        loss.backward()
        self.g_opt.step()
        self.d.requires_grad_(True)


class CycleGAN(Loop):
    """Both generators, then both discriminators; sets of pictures pass a network together."""

    def build(self) -> None:
        """Make both generators and both discriminators, with one Adam for each two."""
        c = self.config
        self.pools = [ReplayPool(c.pool), ReplayPool(c.pool)]
        self.g = nn.ModuleDict({way: c.make_generator(c.channels, c.channels) for way in ("AtoB", "BtoA")})
        self.d = nn.ModuleDict({side: c.make_discriminator(c.channels) for side in "AB"})
        self.g_opt, self.d_opt = self.adam(self.g), self.adam(self.d)
        self.loss = adversarial_loss("lsgan")

    def step(self) -> None:
        """Update the generators, then the discriminators."""
        c = self.config
        a, b = self.batch()
        self.d.requires_grad_(False)
        self.g_opt.zero_grad()
        with self.autocast():
            fake_b, same_b = together(self.g["AtoB"], a, b)
            fake_a, same_a = together(self.g["BtoA"], b, a)
            back_a, back_b = self.g["BtoA"](fake_b), self.g["AtoB"](fake_a)
            cycle = l1_loss(back_a.float(), a) + l1_loss(back_b.float(), b)
            same = l1_loss(same_a.float(), a) + l1_loss(same_b.float(), b)
            loss = self.loss.generator(self.d["B"](fake_b)) + self.loss.generator(self.d["A"](fake_a))
            loss = loss + c.cycle_weight * cycle + c.cycle_weight * c.identity_weight * same
        loss.backward()
        self.g_opt.step()
        self.d.requires_grad_(True)
        self.d_opt.zero_grad()
        with self.autocast():
            losses = [
                self.loss.discriminator(*together(judge, real, pool.exchange(fake))) / 2
                for judge, real, fake, pool in zip(
                    self.d.values(), (a, b), (fake_a, fake_b), self.pools, strict=True
                )
            ]
        sum(losses).backward()
        self.d_opt.step()


def together(network: nn.Module, *pictures: Tensor) -> tuple[Tensor, ...]:
    """Pass sets of pictures through a network at once: instance norm does not mix them."""
    return network(torch.cat(pictures)).chunk(len(pictures))
