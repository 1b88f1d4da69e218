"""What sounds are made into before people hear them."""

from __future__ import annotations

import torch

from mmgan.tasks.audio import at_full_scale, audible


def test_full_scale_but_for_silence() -> None:
    sounds = torch.stack([torch.full((1, 4), 0.25), torch.zeros(1, 4), -torch.ones(1, 4) / 8])
    assert at_full_scale(sounds)[:, 0, 0].tolist() == [1, 0, -1]


def test_an_offset_and_rumble_are_taken_away() -> None:
    time = torch.arange(16_000) / 16_000
    tone = torch.sin(2 * torch.pi * 440 * time)
    rumble = 0.5 * torch.sin(2 * torch.pi * 2 * time)
    heard = audible((tone + rumble + 0.3)[None, None], 16_000)[0, 0]
    assert heard.shape == tone.shape
    # A second has one bin for each Hz. (A high-pass shifts phases, so that amplitudes are compared.)
    amplitude = torch.fft.rfft(heard).abs() / 8000
    assert float(amplitude[0]) < 0.01
    assert float(amplitude[2]) < 0.5 / 8
    assert abs(float(amplitude[440]) - 1) < 0.01
