"""Sounds as samples: WAV files and spectrograms."""

from __future__ import annotations

import copy
from math import log
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn.functional import pad

from mmgan.data.audio.library import torchaudio
from mmgan.data.tree import printable
from mmgan.samples.base import Samples
from mmgan.samples.drawing import new_figure, to_image
from mmgan.storage.files import fresh

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from torch.utils.tensorboard import SummaryWriter

#: Most sounds in one file, and most values of them (2^23: 128 sounds of 65,536 samples): a longer one helps
#: nobody, and takes much memory.
MOST_SOUNDS, MOST_VALUES = 256, 2**23
#: Seconds of silence between two sounds in one file.
GAP = 0.25
#: Sounds of either kind that a picture shows.
SHOWN = 8
#: Classes that have a row in a picture.
CLASSES = 12
#: Softer than this below a picture's loudest point nothing is shown, in dB.
FLOOR = -80.0
#: Samples in a window of a spectrogram, and from one to the next.
WINDOW, HOP = 1024, 256
#: Bands of a spectrogram, and the frequencies that are marked beside it, in Hz.
BANDS, TICKS = 64, (512, 1024, 2048, 4096, 8192, 16_384)


class AudioSamples(Samples):
    """Sounds.

    Args:
        waveforms: (n, 1 or 2, frames), values in [-1, 1]; values outside are clipped.
        rate: Samples in a second (Hz).
        real: Sounds of the data to show beside them, (m, 1 or 2, frames).
    """

    suffix = ".wav"

    def __init__(self, waveforms: Tensor, rate: int, real: Tensor | None = None) -> None:
        self.waveforms = _checked(waveforms)
        self.rate = rate
        self.real = None if real is None else _checked(real)

    def __len__(self) -> int:
        return len(self.waveforms)

    def show_beside(self, real: Tensor) -> None:
        """Show these sounds of the data beside them, (m, 1 or 2, frames)."""
        self.real = _checked(real)

    @property
    def shown(self) -> int:
        """At most 256 sounds, and no more than have 2^23 values in all."""
        return min(len(self), self._most)

    @property
    def _most(self) -> int:
        return min(MOST_SOUNDS, max(1, MOST_VALUES // max(1, self.waveforms[0].numel())))

    def with_more(self, more: Samples) -> AudioSamples:
        """Return these sounds and the first of ``more``, up to the limit of :attr:`shown`."""
        assert isinstance(more, AudioSamples)
        room = self._most - len(self)
        if room <= 0:
            return self
        both = copy.copy(self)
        both.waveforms = torch.cat([self.waveforms, more.waveforms[:room]])
        both.labels = self.labels_with(more, room)
        return both

    def to_int16(self) -> NDArray[np.int16]:
        """Return the sounds as int16 (n, frames, channels), [-1, 1] mapped to [-32767, 32767]."""
        # 32,767 both ways: what is symmetric stays so, and +1 does not wrap around to -1.
        scaled = (self.waveforms * 32_767).round().to(torch.int16)
        return scaled.transpose(1, 2).numpy()

    def in_a_row(self) -> NDArray[np.int16]:
        """Return the sounds, the first :attr:`shown`, one after the other with silence in between.

        Returns:
            (frames, channels).
        """
        sounds = self.to_int16()[: self.shown]
        gap = np.zeros((round(GAP * self.rate), sounds.shape[2]), np.int16)
        return np.concatenate([part for sound in sounds for part in (sound, gap)][:-1])

    def save(self, path: Path) -> None:
        """Write the sounds in a row, the first :attr:`shown`, as one 16-bit WAV."""
        self._write(path, self.in_a_row())

    def save_each(self, folder: Path) -> list[Path]:
        """Write ``0000.wav``, ``0001.wav``, … into ``folder``, each a 16-bit WAV, and return their paths."""
        paths = [folder / f"{number}.wav" for number in self.numbers()]
        for path, sound in zip(paths, self.to_int16(), strict=True):
            with fresh(path) as partial:
                self._write(partial, sound)
        return paths

    def save_walk(self, folder: Path) -> list[Path]:
        """Write ``walk.wav``, the sounds in a row, and ``walk.png``, their spectrograms."""
        sound, image = folder / "walk.wav", folder / "walk.png"
        with fresh(sound) as partial:
            self.save(partial)
        with fresh(image) as partial:
            self.picture().save(partial, format="PNG")
        return [sound, image]

    def to_tensorboard(self, writer: SummaryWriter, tag: str, step: int) -> None:
        """Show the picture, and the sounds in a row (in mono, which is all that TensorBoard plays)."""
        mono = torch.from_numpy(self.in_a_row()).float().mean(1) / 32_767
        writer.add_audio(tag, mono[None], step, sample_rate=self.rate)
        writer.add_image(tag, np.asarray(self.picture()), step, dataformats="HWC")

    def picture(self) -> Image.Image:
        """Draw waveforms and log-mel spectrograms, those of the data beside the generated ones.

        Loudness is in dB below the loudest point of the picture. At most eight sounds of either kind are
        shown, at equal distances in their order, so that a walk is seen from its start to its end. Sounds of
        several classes have a row for each class, of at most twelve.
        """
        kinds = [] if self.real is None or not len(self.real) else [("data", self.real)]
        shown = [(name, _spread(sounds).mean(1).numpy()) for name, sounds in kinds + self._by_class()]
        spectrograms = [[_log_mel(y, self.rate) for y in sounds] for _, sounds in shown]
        loudest = max(float(s.max()) for mels in spectrograms for s in mels)
        columns = max(len(sounds) for _, sounds in shown)
        figure = new_figure(1.2 + 1.6 * columns, 3.1 * len(shown))
        # A row of waveforms over a row of spectrograms, for each kind.
        grid = figure.add_gridspec(2 * len(shown), columns, height_ratios=(1, 2) * len(shown))
        for row, (name, sounds) in enumerate(shown):
            for number, sound in enumerate(sounds):
                wave = figure.add_subplot(grid[2 * row, number])
                mel = figure.add_subplot(grid[2 * row + 1, number])
                decibels = spectrograms[row][number] - loudest
                drawn = _draw(wave, mel, sound, decibels, self.rate, first=number == 0)
                if number == 0:
                    # As plain text, since a class may be called "$".
                    wave.set_title(name, loc="left", fontweight="bold", parse_math=False)
        figure.colorbar(drawn, ax=figure.axes, format="%+.0f dB", aspect=40, fraction=0.02)
        return to_image(figure)

    def _by_class(self) -> list[tuple[str, Tensor]]:
        """Return the generated sounds that a picture shows, class by class where they are of several."""
        sounds = self.waveforms[: self.shown]
        labels = (self.labels or [])[: self.shown]
        if len(set(labels)) < 2:
            return [("generated", sounds)]
        names = list(dict.fromkeys(labels))
        places = torch.linspace(0, len(names) - 1, min(CLASSES, len(names))).round().long().tolist()
        of = {name: torch.tensor([label == name for label in labels]) for name in (names[p] for p in places)}
        return [(printable(name), sounds[mine]) for name, mine in of.items()]

    def _write(self, path: Path, sound: NDArray[np.int16]) -> None:
        import soundfile  # type: ignore[import-untyped]

        soundfile.write(path, sound, self.rate, subtype="PCM_16", format="WAV")


def _checked(sounds: Tensor) -> Tensor:
    """Return sounds on the CPU, clipped to [-1, 1]."""
    if sounds.ndim != 3 or sounds.shape[1] not in (1, 2):
        raise ValueError(f"sounds must be (n, 1 or 2, frames), not {tuple(sounds.shape)}")
    return sounds.detach().float().cpu().clamp(-1, 1)


def _spread(sounds: Tensor) -> Tensor:
    """Choose :data:`SHOWN` sounds at equal distances."""
    return sounds[torch.linspace(0, len(sounds) - 1, min(SHOWN, len(sounds))).round().long()]


def _log_mel(sound: NDArray[np.float32], rate: int) -> NDArray[np.float32]:
    """Return a log-mel spectrogram in dB, (64, times), on the mel scale of :func:`_mel`."""
    samples = torch.from_numpy(sound)
    padded = pad(samples, (0, max(0, WINDOW - len(samples))))
    mel = torchaudio().transforms.MelSpectrogram(
        rate, WINDOW, hop_length=HOP, n_mels=BANDS, norm="slaney", mel_scale="slaney", pad_mode="constant"
    )
    decibels: NDArray[np.float32] = (10 * mel(padded).clamp(min=1e-10).log10()).numpy()
    return decibels


def _mel(frequency: float) -> float:
    """Return a frequency in Hz on the mel scale of Slaney (1998): linear up to 1 kHz, then logarithmic."""
    return 3 * frequency / 200 if frequency < 1000 else 15 + 27 * log(frequency / 1000) / log(6.4)


def _draw(
    wave: Axes, mel: Axes, sound: NDArray[np.float32], decibels: NDArray[np.float32], rate: int, first: bool
) -> Any:
    """Draw a waveform over its spectrogram; only the first of a row has labels."""
    seconds = max(len(sound), WINDOW) / rate
    wave.plot(np.arange(len(sound)) / rate, sound, color="#1a73e8", linewidth=0.5)
    half, bands, times = HOP / rate / 2, *decibels.shape
    drawn = mel.imshow(
        decibels,
        origin="lower",
        aspect="auto",
        interpolation="nearest",
        # Bands are at equal distances on the mel scale, the first and last one off its ends.
        extent=(-half, (2 * times - 1) * half, 0.5, bands + 0.5),
        vmin=FLOOR,
        vmax=0,
        cmap="magma",
    )
    for axes in (wave, mel):
        axes.set(xlim=(0, seconds), xticks=[0, round(seconds / 2, 1)], xlabel="", ylabel="")
        axes.tick_params(labelleft=first, labelbottom=axes is mel)
    wave.set(ylim=(-1, 1))
    shown = [frequency for frequency in TICKS if frequency < rate / 2]
    places = [(bands + 1) * _mel(frequency) / _mel(rate / 2) for frequency in shown]
    mel.set_yticks(places, [str(frequency) for frequency in shown])
    mel.set(xlabel="s", ylabel="Hz" if first else "")
    return drawn
