"""Metrics of sounds: distances between generated and real ones, by several properties.

Sounds are compared by their log-mel spectrograms, 10 log10(mel + 0.1) of 64 bands in windows of about 64 ms,
and by brightness, attack and decay. Stereo is mixed to mono first.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from math import log2

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import pad

from mmgan.data.audio.library import torchaudio
from mmgan.errors import DivergedError, UsageError
from mmgan.metrics.classes import Classes, add_classes
from mmgan.metrics.distances import METRICS, Metric
from mmgan.metrics.reservoir import Reservoir
from mmgan.metrics.scores import Scores

#: The most sounds of a set that are compared.
MAX_SOUNDS = 2_000
#: Bands of the mel scale.
BANDS = 64
#: Length of a sound's feature vector: the mean and the standard deviation over time of each band.
DIMENSIONS = 2 * BANDS
#: A generated sound is a copy if its distance to a real one is below this fraction of the real median.
COPIED = 1 / 3
#: Hop of a loudness envelope, in seconds.
ENVELOPE = 0.004


def audio_scores(
    generated: Iterable[Tensor],
    real: Iterable[Tensor],
    rate: int,
    metrics: Mapping[str, Metric] | None = None,
    classes: Classes | None = None,
) -> Scores:
    """Compare generated sounds with real ones.

    Memory is bounded: of more than 2,000 sounds in a set, a sample of 2,000 is kept, the same each time.

    Args:
        generated: Batches of generated sounds, float (n, channels, frames) in [-1, 1].
        real: Batches of real sounds, likewise and as long.
        rate: Samples in a second (Hz).
        metrics: Names and functions of two tensors, (N, 128) and (M, 128): mean and standard deviation over
            time of each log-mel band. The default is :data:`mmgan.metrics.distances.METRICS`. They become
            ``{name}_logmel``: ``frechet_logmel`` is a Fréchet distance on these statistics, and **not** the
            Fréchet audio distance, which needs a trained network.
        classes: Labels of the sounds, for a score of each class too: "kernel_logmel/snare".

    Returns:
        Besides those (0 is best unless stated otherwise; scores for which there are too few sounds are
        ``missing``):

        - ``spectrum_distance_db``: mean over bands and times of the absolute difference of the two sets'
          mean log-mel spectrograms.
        - ``diversity_logmel``: the distance of a generated sound to its nearest other one, divided by the
          same in the data, by their spectrograms. About 1 is best; 0 is one sound repeated.
        - ``copied_logmel``: fraction of the generated sounds that are nearer to a real sound than a third
          of the median distance from a real sound to its nearest other one.
        - ``centroid_distance_hz``, ``attack_distance_ms``, ``decay_distance_ms``: 1-Wasserstein distances of
          the two sets' spectral centroids, times from the start to the loudest moment, and times from there
          until the sound stays 20 dB lower.

    Raises:
        UsageError: A set is empty.
        DivergedError: A sound holds NaN or infinity.
    """
    fake, true = _gather(generated, rate), _gather(real, rate)
    if not (len(fake.spectrograms) and len(true.spectrograms)):
        raise UsageError(
            f"Sounds can't be compared: there are {len(fake.spectrograms)} generated and "
            f"{len(true.spectrograms)} real ones."
        )
    difference = fake.spectrograms.mean(0) - true.spectrograms.mean(0)
    scores = Scores({"spectrum_distance_db": float(difference.abs().mean())})
    scores.add("diversity_logmel", lambda: _diversity(fake.spectrograms, true.spectrograms))
    scores.add("copied_logmel", lambda: _copied(fake.spectrograms, true.spectrograms))
    scores["centroid_distance_hz"] = _wasserstein(fake.centroids, true.centroids)
    scores["attack_distance_ms"] = 1000 * _wasserstein(fake.attacks, true.attacks)
    scores["decay_distance_ms"] = 1000 * _wasserstein(fake.decays, true.decays)
    metrics = METRICS if metrics is None else metrics
    for name, metric in metrics.items():
        scores.add(f"{name}_logmel", partial(metric, fake.statistics, true.statistics))
    if classes:
        ours = fake.statistics, classes.generated[fake.kept]
        theirs = true.statistics, classes.real[true.kept]
        add_classes(scores, metrics, "logmel", classes.names, ours, theirs)
    return scores


class LogMel:
    """Turns sounds into log-mel spectrograms.

    Args:
        rate: Samples in a second (Hz).
    """

    def __init__(self, rate: int) -> None:
        #: Samples in a window: 1,024 at 16 kHz, and as long in seconds at other rates.
        self.window = 2 ** round(log2(0.064 * rate))
        self._mel = torchaudio().transforms.MelSpectrogram(
            rate, self.window, hop_length=self.window // 4, n_mels=BANDS
        )

    def __call__(self, sounds: Tensor) -> Tensor:
        """Map ``sounds`` (n, frames) in [-1, 1] to (n, bands, times), in dB."""
        padded = pad(sounds, (0, max(0, self.window - sounds.shape[1])))
        decibels: Tensor = 10 * torch.log10(self._mel(padded) + 0.1)
        return decibels


@dataclass(frozen=True)
class _Sounds:
    """Features of a set of sounds.

    Args:
        spectrograms: (n, bands * times), dB.
        statistics: (n, 128).
        centroids: (n,), Hz.
        attacks: (n,), s.
        decays: (n,), s.
        kept: int64 (n,), which of the sounds that were given each one is.
    """

    spectrograms: Tensor
    statistics: Tensor
    centroids: Tensor
    attacks: Tensor
    decays: Tensor
    kept: Tensor


@torch.inference_mode()
def _gather(batches: Iterable[Tensor], rate: int) -> _Sounds:
    """Compute the features of all sounds, or of a uniform sample of :data:`MAX_SOUNDS`."""
    log_mel = LogMel(rate)
    reservoir: Reservoir | None = None
    for batch in batches:
        sounds = batch.float().cpu().mean(1)
        if not sounds.isfinite().all():
            raise DivergedError(
                "Sounds can't be compared: a batch of them holds NaN or infinity.",
                hint="go back to an earlier checkpoint",
            )
        mel = log_mel(sounds)
        heard = centroids(sounds, rate)[:, None], *envelopes(sounds, rate)
        rows = torch.cat([mel.flatten(1), mel.mean(2), mel.std(2), *heard], dim=1)
        if reservoir is None:
            reservoir = Reservoir(MAX_SOUNDS, rows.shape[1])
        reservoir.add(rows)
    reservoir = reservoir or Reservoir(0, DIMENSIONS + 3)
    size = reservoir.rows.shape[1] - DIMENSIONS - 3
    spectrograms, statistics, rest = torch.split(reservoir.rows, [size, DIMENSIONS, 3], dim=1)
    centres, attacks, decays = rest.unbind(1)
    return _Sounds(spectrograms, statistics, centres, attacks, decays, reservoir.kept)


def centroids(sounds: Tensor, rate: int) -> Tensor:
    """Return the mean frequency of each sound's power, in Hz: (n, frames) to (n,); 0 for silence.

    Args:
        sounds: float (n, frames).
        rate: Samples in a second (Hz).
    """
    power = torch.fft.rfft(sounds).abs().square()
    frequencies = torch.linspace(0, rate / 2, power.shape[1])
    total = power.sum(1)
    return torch.where(total > 0, power @ frequencies / total.clamp(min=1e-30), 0.0)


def envelopes(sounds: Tensor, rate: int) -> tuple[Tensor, Tensor]:
    """Return each sound's attack and decay in seconds: (n, frames) to twice (n, 1); 0 for silence.

    The attack is the time to the loudest moment, the decay the time from there until the sound stays 20 dB
    lower. Loudness is the power in windows of 16 ms, every 4 ms.

    Args:
        sounds: float (n, frames).
        rate: Samples in a second (Hz).
    """
    hop = max(1, round(ENVELOPE * rate))
    power = pad(sounds.square(), (2 * hop, 2 * hop)).unfold(1, 4 * hop, hop).mean(2)
    loudest, at = power.max(1, keepdim=True)
    loud = (power >= loudest / 100) & (loudest > 0)
    last = (loud * torch.arange(power.shape[1])).amax(1, keepdim=True)
    return at * hop / rate, (last - at).clamp(min=0) * hop / rate


def _diversity(generated: Tensor, real: Tensor) -> Tensor:
    """Return the distance of a sound to its nearest other one, divided by the same in the data."""
    return _nearest_other(generated).mean() / _nearest_other(real).mean().clamp(min=1e-9)


def _copied(generated: Tensor, real: Tensor) -> Tensor:
    """Return the fraction of generated sounds that are much nearer to a real sound than real ones are."""
    return (_nearest(generated, real) < COPIED * _nearest_other(real).median()).double().mean()


def _nearest(spectrograms: Tensor, others: Tensor) -> Tensor:
    """Return each spectrogram's distance to the nearest of ``others``, as a mean over its points, in dB."""
    nearest = torch.cdist(spectrograms, others).amin(1)
    return nearest.div(spectrograms.shape[1] ** 0.5)


def _nearest_other(spectrograms: Tensor) -> Tensor:
    """Return each spectrogram's distance to the nearest other one of the same set, likewise.

    Raises:
        UsageError: The set has one sound only.
    """
    if len(spectrograms) < 2:
        raise UsageError("A set of 1 sound can't be compared with itself: at least 2 are needed.")
    # By differences: with a matrix product, rounding would give copies a distance.
    distances = torch.cdist(spectrograms, spectrograms, compute_mode="donot_use_mm_for_euclid_dist")
    nearest = distances.fill_diagonal_(torch.inf).amin(1)
    return nearest.div(spectrograms.shape[1] ** 0.5)


def _wasserstein(generated: Tensor, real: Tensor) -> float:
    from scipy.stats import wasserstein_distance  # type: ignore[import-untyped]

    values: tuple[NDArray[np.float32], NDArray[np.float32]] = generated.numpy(), real.numpy()
    return float(wasserstein_distance(*values))
