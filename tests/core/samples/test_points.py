"""Points as samples."""

from __future__ import annotations

from pathlib import Path

import torch

from mmgan import PointSamples


def test_points_of_classes_name_them(tmp_path: Path) -> None:
    samples = PointSamples(torch.tensor([[0.5, -1.0], [1 / 3, 2.0]]))
    (path,) = samples.save_each(tmp_path)
    assert path.read_text() == "x,y\n0.5,-1\n0.333333,2\n"
    samples.labels = ["a", 'b "or" c']
    (path,) = samples.save_each(tmp_path)
    assert path.read_text() == 'x,y,class\n0.5,-1,a\n0.333333,2,"b ""or"" c"\n'
