"""A judge of generated MNIST digits: a small classifier, trained here, whose features are compared.

The judge's distance is the Fréchet distance between the classifier's 128 penultimate features of the 10,000
test pictures and of as many generated ones. It is like an FID, with a network that knows digits; no FID, and
comparable only between pictures that the *same* judge file scored.

    python benchmarks/judge.py --root DATA --judge judge.pt

trains a judge unless the file is there, and prints its accuracy and what real training pictures score: the
distance that no generator can be expected to beat.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torchvision.datasets import MNIST

from mmgan.data.image.pixels import to_pixels
from mmgan.metrics.digits import convolutions
from mmgan.metrics.distances import frechet_distance

SIZE = 32


class Classifier(nn.Module):
    """Digits (N, 1, 32, 32) in [-1, 1] to 10 logits, by way of 128 features."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            *convolutions(), nn.Flatten(), nn.Linear(96 * 4 * 4, 128), nn.ReLU(inplace=True)
        )
        self.classify = nn.Linear(128, 10)

    def forward(self, pictures: Tensor) -> Tensor:
        """Return logits (N, 10)."""
        return self.classify(self.features(pictures))


class Judge:
    """A trained classifier, and its features of the test pictures.

    Args:
        classifier: A trained one.
        root: Where MNIST is.
    """

    def __init__(self, classifier: Classifier, root: Path) -> None:
        self.classifier = classifier.eval()
        self.test = mnist(root, train=False)
        self.real, logits = self._look(self.test[0])
        self.accuracy = (logits.argmax(1) == self.test[1]).float().mean().item()

    def score(self, pictures: Tensor) -> dict[str, Any]:
        """Score pictures (N, 1, 32, 32) in [-1, 1]; N is best 10,000, since the distance depends on it.

        Returns:
            ``distance``; ``confidence``, the mean of the greatest class probability, and ``clear``, the share
            of pictures for which it is above 0.9; ``histogram``, how many were taken for each digit.
        """
        features, logits = self._look(pictures)
        confidence = logits.softmax(1).amax(1)
        return {
            "distance": round(frechet_distance(features, self.real), 3),
            "confidence": round(confidence.mean().item(), 4),
            "clear": round((confidence > 0.9).float().mean().item(), 4),
            "histogram": torch.bincount(logits.argmax(1), minlength=10).tolist(),
        }

    def judge_distance(self, pictures: Tensor) -> float:
        """Return the Fréchet distance of pictures (N, 1, 32, 32) in [-1, 1] to the test pictures."""
        return frechet_distance(self._look(pictures)[0], self.real)

    def worth(self, pictures: Tensor, labels: Tensor) -> float:
        """Return what samples are worth as training data: their classification accuracy score.

        It is the share of the test pictures that a classifier like this one reads right when it has learned
        from the samples alone (Ravuri and Vinyals 2019).

        Args:
            pictures: (N, 1, 32, 32) in [-1, 1].
            labels: int64 (N,), the digits that were asked for.
        """
        learned = fit(pictures, labels).eval()
        with torch.inference_mode():
            read = torch.cat([learned(part).argmax(1) for part in self.test[0].split(500)])
        return round((read == self.test[1]).float().mean().item(), 4)

    def read(self, pictures: Tensor) -> Tensor:
        """Return the digit that each picture (N, 1, 32, 32) in [-1, 1] shows: int64 (N,)."""
        return self._look(pictures)[1].argmax(1)

    @torch.inference_mode()
    def _look(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Return features (N, 128) and logits (N, 10)."""
        features = torch.cat([self.classifier.features(batch) for batch in pictures.split(500)])
        return features, self.classifier.classify(features)


def open_judge(root: Path, path: Path) -> Judge:
    """Load the judge in ``path``, or train one and save it there."""
    if not path.exists():
        return train_judge(root, path)
    classifier = Classifier()
    classifier.load_state_dict(torch.load(path, weights_only=True))
    return Judge(classifier, root)


def train_judge(root: Path, path: Path) -> Judge:
    """Train a judge on the MNIST below ``root``, save it to ``path``, and return it."""
    judge = Judge(fit(*mnist(root, train=True)), root)
    if judge.accuracy < 0.99:
        raise SystemExit(
            f"judge: only {judge.accuracy:.2%} of the test digits were told right; 99% are needed"
        )
    torch.save(judge.classifier.state_dict(), path)
    return judge


def fit(pictures: Tensor, labels: Tensor, epochs: int = 3, batch_size: int = 128) -> Classifier:
    """Train a classifier, always from the same seed.

    Args:
        pictures: float32 (N, 1, 32, 32) in [-1, 1].
        labels: int64 (N,), their digits.
        epochs: How often each is seen.
        batch_size: Pictures in a batch.
    """
    torch.manual_seed(0)
    classifier = Classifier().to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(classifier.parameters(), fused=True)
    steps = epochs * (len(pictures) // batch_size)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=steps)
    start = time.perf_counter()
    for epoch in range(epochs):
        for index in torch.randperm(len(pictures)).split(batch_size)[: steps // epochs]:
            optimizer.zero_grad()
            logits = classifier(pictures[index])
            loss = nn.functional.cross_entropy(logits, labels[index])
            loss.backward()
            optimizer.step()
            schedule.step()
        seconds = time.perf_counter() - start
        print(f"judge: epoch {epoch + 1} of {epochs}, {seconds:.0f} s, loss {loss:.4f}", file=sys.stderr)
    return classifier.to(memory_format=torch.contiguous_format)


def mnist(root: Path, train: bool) -> tuple[Tensor, Tensor]:
    """Return MNIST's pictures, float32 (N, 1, 32, 32) in [-1, 1], and their labels (N,).

    They are enlarged from 28x28 by mmgan's own data pipeline (Pillow's bicubic filter), so that every
    generator, in mmgan or bare, is trained on what the judge takes for real.
    """
    try:
        data = MNIST(root, train=train)
    except RuntimeError as error:
        raise SystemExit(
            f"no MNIST below {root} ({error}): get it by torchvision.datasets.MNIST(root, download=True)"
        ) from None
    pixels = np.stack([to_pixels(Image.fromarray(digit), SIZE, 1) for digit in data.data.numpy()])
    return torch.from_numpy(pixels).float() / 127.5 - 1, data.targets


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--root", type=Path, required=True, help="the folder that holds torchvision's MNIST/")
    parser.add_argument("--judge", type=Path, required=True, help="the judge's file; trained if missing")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="CPU threads")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    judge = open_judge(args.root, args.judge)
    training = mnist(args.root, train=True)[0]
    chosen = torch.randperm(len(training), generator=torch.Generator().manual_seed(0))[:10_000]
    print(json.dumps({"accuracy": judge.accuracy, "real_training_pictures": judge.score(training[chosen])}))


if __name__ == "__main__":
    main()
