"""A small MNIST for tests: scikit-learn's digits, enlarged, in MNIST's own files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from mmgan.data.image.sources import Digits

#: How many of the 1,797 digits are those of the training part.
TRAINING = 1500


def write_mnist(root: Path) -> None:
    """Write the four files of an MNIST below ``root``, as torchvision reads them."""
    source = Digits()
    pictures, labels = zip(*(source[index] for index in range(len(source))), strict=True)
    pixels = np.stack([np.array(picture.resize((28, 28), Image.Resampling.BICUBIC)) for picture in pictures])
    digits = np.array(labels, dtype=np.uint8)
    folder = root / "MNIST" / "raw"
    folder.mkdir(parents=True)
    for name, part in (("train", slice(TRAINING)), ("t10k", slice(TRAINING, None))):
        for kind, values in (("images-idx3", pixels[part]), ("labels-idx1", digits[part])):
            header = np.array([0x0800 + values.ndim, *values.shape], dtype=">i4").tobytes()
            (folder / f"{name}-{kind}-ubyte").write_bytes(header + values.tobytes())
