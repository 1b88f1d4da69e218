"""What every game on sounds has in common: its data, its samples, its walk, its scores."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import torch
from torch import Tensor
from typing_extensions import TypeVar

from mmgan.config import Config
from mmgan.data.audio.dataset import AudioConfig, AudioData
from mmgan.data.audio.waveforms import without_rumble
from mmgan.metrics.audio import DIMENSIONS, audio_scores
from mmgan.metrics.scores import check_best
from mmgan.samples import AudioSamples, Samples
from mmgan.tasks.latent import LatentConfig, LatentTask, chosen

#: Sounds of the data that are shown beside generated ones.
SHOWN = 8
#: A generated sound with a peak below this, 40 dB below full scale, is silence and stays so.
SILENCE = 0.01


class AudioTaskConfig(AudioConfig, LatentConfig):
    """Settings of a game that turns latents into sounds."""


#: The settings of a game on sounds; of any kind, as far as a type checker knows, where a task does not say.
C = TypeVar("C", bound=AudioTaskConfig, default=Any)


class AudioTask(LatentTask[C]):
    """A task whose player ``G`` turns latents into sounds. Subclasses write ``build`` and ``loss``."""

    Config: ClassVar[type[Config]] = AudioTaskConfig
    data_kind = "sounds"
    chunk = 32

    @property
    def best_score(self) -> str:
        """The Fréchet distance on log-mel statistics."""
        return "frechet_logmel"

    def data(self) -> Any:
        """Open the sounds: (batch, channels, length) in [-1, 1]; in a dict where a batch holds more.

        Raises:
            ConfigError: The run is to be evaluated, and there are too few sounds for its best score.
        """
        data = AudioData(self.run.open_data("sounds"), self.config, self.run.progress, self.holds)
        if self.best_score.startswith("frechet_"):
            check_best(self, len(data), DIMENSIONS, "sound")
        return data

    def sample(self, n: int, label: Tensor | None = None, truncation: Tensor | None = None) -> Samples:
        """Generate ``n`` sounds, to be shown beside some of the data where that is open."""
        return self._beside_the_data(super().sample(n, label, truncation))

    def sample_chunks(
        self, n: int, prompt: str = "", label: Tensor | None = None, truncation: Tensor | None = None
    ) -> Iterator[Samples]:
        """Generate ``n`` sounds, 32 at a time, to be shown beside some of the data where that is open."""
        return map(self._beside_the_data, super().sample_chunks(n, prompt, label, truncation))

    def _beside_the_data(self, samples: Samples) -> Samples:
        if self.run.data_is_open and isinstance(samples, AudioSamples):
            dataset: AudioData = self.run.dataset
            samples.show_beside(dataset.sounds(chosen(len(dataset), SHOWN)))
        return samples

    def present(self, examples: Tensor) -> Samples:
        """Return sounds (n, channels, length) as loud as the data's: one-shots at full scale if these are.

        How loud a sound was is not in such data: full scale is a convention, which samples keep.
        """
        sounds = audible(examples, self.config.sample_rate)
        if self.config.slice == "oneshot" and self.config.normalize == "peak":
            sounds = at_full_scale(sounds)
        return AudioSamples(sounds, self.config.sample_rate)

    def evaluate(self, n: int) -> dict[str, float]:
        """Score ``n`` sounds (0: as many as the data, at most 2,000) against as many of the data; where
        classes are learned, each class for itself too.

        Scores are of what G generates; what ``sample`` makes of its loudness does not hide what it misses.
        """
        dataset: AudioData = self.run.dataset
        n = n or min(len(dataset), 2_000)
        which = chosen(len(dataset), n)
        label = self.labels_of(dataset, which)
        return audio_scores(
            self.alike(n, label),
            (dataset.sounds(part) for part in torch.split(which, self.chunk)),
            self.config.sample_rate,
            self.run.metrics("sounds"),
            self.score_classes(n, label),
        )


def audible(sounds: Tensor, rate: int) -> Tensor:
    """Take away constant offsets and what is too low to be heard.

    An offset, by the median, goes first: to a filter that starts from rest it would be a click.

    Args:
        sounds: (n, channels, frames).
        rate: Samples in a second (Hz).
    """
    # On the CPU, since a GPU's median is refused where a run is to repeat to the byte.
    on_cpu = sounds.cpu()
    centred = on_cpu - on_cpu.median(2, keepdim=True).values
    return torch.from_numpy(without_rumble(centred.numpy(), rate)).to(sounds)


def at_full_scale(sounds: Tensor) -> Tensor:
    """Make sounds (n, channels, frames) as loud as possible, but for silence."""
    peaks = sounds.abs().amax((1, 2), keepdim=True)
    return torch.where(peaks < SILENCE, sounds, sounds / peaks)
