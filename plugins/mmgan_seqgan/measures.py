"""Scores of generated sequences: their likelihood, and the quality and diversity of texts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mmgan.data.text.tokenizers import UNKNOWN
from mmgan.metrics.scores import Scores
from mmgan.metrics.text import References, bleu, self_bleu, text_scores
from mmgan.samples import Tradeoff
from mmgan_seqgan.oracle import nll
from mmgan_seqgan.rollouts import generate_in_parts

if TYPE_CHECKING:
    from mmgan_seqgan.networks import Generator
    from mmgan_seqgan.task import SeqGAN

#: From a generator and a temperature to its loss in diversity and its loss in quality.
Point = Callable[["Generator", float], tuple[float, float]]

#: Temperatures at which quality is shown against diversity.
TEMPERATURES = (0.6, 0.8, 1.0, 1.2)
#: Sequences that are sampled for a point of the plot.
DRAWN = 250
#: The n-grams of a point's BLEU.
ORDER = 3


def scores(task: SeqGAN, generator: Generator, n: int) -> Scores:
    """Score ``n`` sequences of a generator at temperature 1, and the likelihood of held-out ones.

    Args:
        task: Whose settings and data.
        generator: The generator to sample from.
        n: How many; 0: 2,000 texts, or 9,984 sequences for the oracle, as in the paper's code.

    Returns:
        ``nll_held_out``: of held-out sequences under the generator, nats a token; lower is better, and
        missing modes make it high. For the oracle ``nll_oracle``: of generated sequences under the oracle;
        lower is better, but missing modes don't show; and ``unique``. For texts the scores of
        :func:`mmgan.metrics.text.text_scores`, and those of plugins.
    """
    data, device = task.run.dataset, task.run.device.torch
    held_out = data.held_out.to(device)
    found = Scores({"nll_held_out": nll(generator, held_out, task.counted(held_out))})
    if task.on_oracle:
        tokens = write(task, generator, n or 9_984, 1.0)
        found["nll_oracle"] = data.nll(tokens)
        found["unique"] = len(torch.unique(tokens.cpu(), dim=0)) / len(tokens)
        return found
    units = task.tokenizer.units
    texts = decoded(task, write(task, generator, n or 2_000, 1.0))
    found.include(
        text_scores(
            [units(text) for text in texts],
            [units(text) for text in data.held_out_texts],
            map(units, data.texts),
        )
    )
    for name, metric in task.run.metrics("texts").items():
        found.add(name, partial(metric, texts, data.held_out_texts))
    return found


def tradeoff(task: SeqGAN, generators: dict[str, Generator]) -> Tradeoff:
    """Plot quality against diversity for generators at several temperatures.

    A lower temperature always improves quality and always reduces diversity, so that one number alone shows
    nothing (Caccia et al. 2020, "Language GANs Falling Short").
    """
    if task.on_oracle:
        labels = "NLL of held-out sequences: what is missing", "NLL under the oracle: what is wrong"
    else:
        labels = f"self-BLEU-{ORDER}: sameness", f"1 - BLEU-{ORDER}: what does not read like the data"
    point = _of_oracle(task) if task.on_oracle else _of_texts(task)
    curves = {
        name: [(temperature, *point(generator, temperature)) for temperature in TEMPERATURES]
        for name, generator in generators.items()
    }
    return Tradeoff(*labels, curves)


def _of_oracle(task: SeqGAN) -> Point:
    data = task.run.dataset
    held_out = data.held_out[: 2 * DRAWN].to(task.run.device.torch)

    def point(generator: Generator, temperature: float) -> tuple[float, float]:
        tokens = write(task, generator, 2 * DRAWN, temperature)
        return nll(generator, held_out, temperature=temperature), data.nll(tokens)

    return point


def _of_texts(task: SeqGAN) -> Point:
    units = task.tokenizer.units
    references = References([units(text) for text in task.run.dataset.held_out_texts])

    def point(generator: Generator, temperature: float) -> tuple[float, float]:
        texts = [units(text) for text in decoded(task, write(task, generator, DRAWN, temperature))]
        name = f"bleu_{ORDER}"
        return self_bleu(texts)[f"self_{name}"], 1 - bleu(texts, references)[name]

    return point


def write(
    task: SeqGAN, generator: Generator, n: int, temperature: float, prompt: Sequence[int] = ()
) -> Tensor:
    """Sample ``n`` sequences for display, without UNKNOWN tokens: (n, length)."""
    return torch.cat(list(write_in_parts(task, generator, n, temperature, prompt)))


def write_in_parts(
    task: SeqGAN, generator: Generator, n: int, temperature: float, prompt: Sequence[int] = ()
) -> Iterator[Tensor]:
    """Yield the result of :func:`write` in parts."""
    without = UNKNOWN if task.ends else None
    return generate_in_parts(generator, n, task.config.length, task.ends, temperature, prompt, without)


def decoded(task: SeqGAN, tokens: Tensor) -> list[str]:
    """Decode sequences into texts."""
    return [task.tokenizer.decode(row) for row in tokens.tolist()]
