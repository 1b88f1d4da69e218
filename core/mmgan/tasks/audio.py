"""What every game on sounds has in common: its data, its samples, its walk, its scores."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor
from typing_extensions import TypeVar

from mmgan.config import Config
from mmgan.data.audio.dataset import AudioConfig, AudioData
from mmgan.data.audio.waveforms import without_rumble
from mmgan.metrics.audio import DIMENSIONS, audio_scores
from mmgan.metrics.scores import check_best
from mmgan.samples import AudioSamples, Samples
from mmgan.task import Task
from mmgan.tasks.walks import closed_walk, slerp

#: Samples that are generated at once: enough to keep two cores busy, little enough for their memory.
CHUNK = 32
#: Sounds of the data that are shown beside generated ones.
SHOWN = 8
#: A generated sound with a peak below this, 40 dB below full scale, is silence and stays so.
SILENCE = 0.01


class AudioTaskConfig(AudioConfig):
    """Settings of a game that turns latents into sounds."""

    latent: int = Field(100, ge=1, description="length of the latent vector z")


#: The settings of a game on sounds; of any kind, as far as a type checker knows, where a task does not say.
C = TypeVar("C", bound=AudioTaskConfig, default=Any)


class AudioTask(Task[C]):
    """A task whose player ``G`` turns latents into sounds. Subclasses write ``build`` and ``loss``."""

    Config: ClassVar[type[Config]] = AudioTaskConfig
    data_kind = "sounds"

    @property
    def best_score(self) -> str:
        """The Fréchet distance on log-mel statistics."""
        return "frechet_logmel"

    def data(self) -> Any:
        """Open the sounds: (batch, channels, length) in [-1, 1].

        Raises:
            ConfigError: The run is to be evaluated, and there are too few sounds for its best score.
        """
        data = AudioData(self.run.open_data("sounds"), self.config, progress=self.run.progress)
        if self.best_score.startswith("frechet_"):
            check_best(self, len(data), DIMENSIONS, "sound")
        return data

    def latents(self, n: int) -> Tensor:
        """Draw z ~ N(0, I): (n, latent)."""
        return torch.randn(n, self.config.latent, device=self.run.device.torch)

    def generate(self, latents: Tensor) -> Tensor:
        """Turn latents into sounds (n, channels, length), by the averaged G if any."""
        generator = self.run.players["G"].sampler
        return torch.cat([generator(chunk) for chunk in torch.split(latents, CHUNK)])

    def sample(self, n: int) -> AudioSamples:
        """Generate ``n`` sounds, to be shown beside some of the data where that is open."""
        return self._samples(self.latents(n), self._real())

    def sample_chunks(self, n: int, prompt: str = "") -> Iterator[Samples]:
        """Generate ``n`` sounds, 32 at a time."""
        real = self._real()
        for latents in torch.split(self.latents(n), CHUNK):
            yield self._samples(latents, real)

    def _real(self) -> Tensor | None:
        """Return some sounds of the data, where it is open."""
        if not self.run.data_is_open:
            return None
        dataset: AudioData = self.run.dataset
        return dataset.sounds(_chosen(len(dataset), SHOWN))

    def interpolate(self, n: int) -> AudioSamples:
        """Generate ``n`` sounds along a closed walk over the sphere that Gaussian latents lie near."""
        return self.walk(n, slerp)

    def walk(self, n: int, between: Any) -> AudioSamples:
        """Generate ``n`` sounds along a closed walk, eight from corner to corner."""
        return self._samples(closed_walk(self.latents(max(2, n // 8)), n, between))

    def _samples(self, latents: Tensor, real: Tensor | None = None) -> AudioSamples:
        """Generate sounds for people, as loud as the data's: one-shots have full scale if these have it.

        How loud a sound was is not in such data: full scale is a convention, which samples keep.
        """
        sounds = audible(self.generate(latents), self.config.sample_rate)
        if self.config.slice == "oneshot" and self.config.normalize == "peak":
            sounds = at_full_scale(sounds)
        return AudioSamples(sounds, self.config.sample_rate, real)

    def evaluate(self, n: int) -> dict[str, float]:
        """Score ``n`` sounds (0: as many as the data, at most 2,000) against as many of the data.

        Scores are of what G generates; what ``sample`` makes of its loudness does not hide what it misses.
        """
        dataset: AudioData = self.run.dataset
        n = n or min(len(dataset), 2_000)
        generated = (self.generate(self.latents(len(chunk))) for chunk in torch.split(torch.arange(n), CHUNK))
        # At random, since a folder's sounds come class by class; the same ones each time.
        real = (dataset.sounds(chunk) for chunk in torch.split(_chosen(len(dataset), n), CHUNK))
        return audio_scores(generated, real, self.config.sample_rate, self.run.metrics("sounds"))


def _chosen(count: int, n: int) -> Tensor:
    """Choose ``n`` of ``count`` examples at random, always the same ones."""
    return torch.randperm(count, generator=torch.Generator().manual_seed(0))[:n]


def audible(sounds: Tensor, rate: int) -> Tensor:
    """Take away constant offsets and what is too low to be heard.

    An offset, by the median, goes first: to a filter that starts from rest it would be a click.

    Args:
        sounds: (n, channels, frames).
        rate: Samples in a second (Hz).
    """
    centred = sounds - sounds.median(2, keepdim=True).values
    return torch.from_numpy(without_rumble(centred.cpu().numpy(), rate)).to(sounds)


def at_full_scale(sounds: Tensor) -> Tensor:
    """Make sounds (n, channels, frames) as loud as possible, but for silence."""
    peaks = sounds.abs().amax((1, 2), keepdim=True)
    return torch.where(peaks < SILENCE, sounds, sounds / peaks)
