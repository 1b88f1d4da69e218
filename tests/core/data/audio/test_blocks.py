import numpy as np
import pytest

from mmgan.data.audio import blocks
from mmgan.data.audio.blocks import Blocks, pieces


def counting(frames, sizes):
    """Frames that count from 0, in blocks of the given sizes, in turn."""
    start = number = 0
    while start < frames:
        stop = min(frames, start + sizes[number % len(sizes)])
        yield np.arange(start, stop, dtype=np.float32)[None]
        start, number = stop, number + 1


@pytest.mark.parametrize("sizes", [[1], [3, 50], [1000]])
@pytest.mark.parametrize(("size", "margin"), [(1, 0), (10, 0), (10, 3), (10, 25), (400, 10)])
@pytest.mark.parametrize("frames", [0, 1, 9, 10, 11, 100, 237])
def test_pieces_follow_each_other_and_overlap(sizes, size, margin, frames):
    position = 0
    for piece, before in pieces(counting(frames, sizes), size, margin):
        first = max(0, position - margin)
        assert before == position - first
        assert piece[0].tolist() == list(range(first, min(frames, position + size + margin)))
        position += size
    assert position >= frames
    assert position - size < frames or not frames


@pytest.mark.parametrize("kept", [10, 1000])
def test_a_waveform_can_be_gone_through_again(kept, monkeypatch):
    monkeypatch.setattr(blocks, "_KEPT", kept)
    made = []

    def make():
        made.append(1)
        return counting(100, [7])

    waveform = Blocks(make)
    assert waveform.frames == 100
    assert np.concatenate(list(waveform), axis=1)[0].tolist() == list(range(100))
    assert np.concatenate(list(waveform.part(5, 33)), axis=1)[0].tolist() == list(range(5, 33))
    assert np.concatenate(list(waveform.part(90, 200)), axis=1)[0].tolist() == list(range(90, 100))
    assert list(waveform.part(100, 200)) == []
    assert len(made) == (1 if kept == 1000 else 5)
