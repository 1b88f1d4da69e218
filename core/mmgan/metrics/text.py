"""Metrics of texts: quality and diversity by shared n-grams, and repetition.

A text is a sequence of units: words without white space in them, or characters (so a ``str`` will do).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TypeVar

from mmgan.errors import UsageError
from mmgan.extras import need
from mmgan.metrics.scores import Scores

Text = Sequence[str]
T = TypeVar("T")

#: The n of BLEU-n and self-BLEU-n.
ORDERS = (2, 3, 4, 5)
#: The most generated texts that BLEU and self-BLEU use, and the most references.
MAX_GENERATED, MAX_REFERENCES = 500, 2_000


def text_scores(generated: Sequence[Text], held_out: Sequence[Text], train: Iterable[Text]) -> Scores:
    """Compare generated texts with held-out texts and with the training texts.

    Args:
        generated: Generated texts, at least one; of one alone self-BLEU is ``missing``.
        held_out: Texts of the data that were kept from training, at least one.
        train: The texts that were trained on.

    Returns:
        All in [0, 1]:

        - ``bleu_2`` … ``bleu_5``: see :func:`bleu`, with the held-out texts as references; more is better.
        - ``self_bleu_2`` … ``self_bleu_5``: see :func:`self_bleu`; less is more diverse.
        - ``unique``: number of distinct generated texts, divided by the number of generated texts.
        - ``copied``: fraction of the generated texts that are word for word in the training texts.

    Raises:
        UsageError: There are no generated texts, or no held-out ones.
    """
    distinct = Counter(map(tuple, generated))
    scores = Scores(bleu(generated, References(held_out)))
    try:
        scores.include(self_bleu(generated))
    except UsageError as error:
        scores.missing |= {f"self_bleu_{n}": error.message for n in ORDERS}
    known = {text for text in map(tuple, train) if text in distinct}
    scores["unique"] = len(distinct) / len(generated)
    scores["copied"] = sum(distinct[text] for text in known) / len(generated)
    return scores


class References:
    """Reference texts, whose n-grams are counted once for any number of comparisons.

    Args:
        texts: At least one; of more than 2,000, 2,000 at equal distances are used.

    Raises:
        UsageError: There are no texts.
    """

    def __init__(self, texts: Sequence[Text]) -> None:
        if not texts:
            raise UsageError("Texts can't be compared: there are no references.")
        chosen = _spread(texts, MAX_REFERENCES)
        self.lengths = Counter(map(len, chosen))
        self.most, _ = _largest(map(_count, chosen))


def bleu(generated: Sequence[Text], references: References) -> dict[str, float]:
    """Return ``bleu_2`` … ``bleu_5``: BLEU-n (Papineni et al., 2002), the mean over the generated texts.

    As is usual for text GANs (Texygen: Zhu et al., 2018), each text is compared with **all** references at
    once: the matches of an n-gram are clipped at its largest count in any reference, and the brevity penalty
    uses the reference whose length is nearest (the shorter of two). BLEU-n is the penalty times the geometric
    mean of the precisions of 1-grams to n-grams.

    Smoothing is Texygen's, method 1 of Chen and Cherry (2014): an order without matches counts as 0.1
    matches. A text that shares no unit with the references, or has no units, scores 0. Unlike there, orders
    that a text is too short for are left out of the mean (sacrebleu's ``effective_order``), so that a short
    text that is one of the references scores 1.

    Args:
        generated: At least one; of more than 500, 500 at equal distances are used.
        references: The references to compare them with.

    Raises:
        UsageError: There are no generated texts.
    """
    if not generated:
        raise UsageError("Texts can't be scored: there are none.")
    chosen = _spread(generated, MAX_GENERATED)
    return _mean(
        "bleu", [_sentence(_count(text), len(text), references.most, references.lengths) for text in chosen]
    )


def self_bleu(generated: Sequence[Text]) -> dict[str, float]:
    """Return ``self_bleu_2`` … ``self_bleu_5``: the mean BLEU-n of each text against all the others.

    Texygen's measure of diversity: near 1 if a generator repeats itself. It grows with the number of texts,
    so compare equal numbers. Counting and smoothing are as in :func:`bleu`; texts of no units score 0.

    Args:
        generated: At least two; of more than 500, 500 at equal distances are used.

    Raises:
        UsageError: There are fewer than two.
    """
    if len(generated) < 2:
        raise UsageError(
            f"Texts can't be compared with each other where there are only {len(generated)}: "
            "at least 2 are needed.",
            hint="ask for more: mmgan evaluate DIR -n 200",
        )
    chosen = _spread(generated, MAX_GENERATED)
    counts = [_count(text) for text in chosen]
    lengths = Counter(map(len, chosen))
    # The matches of an n-gram are clipped at its largest count in any *other* text. If this text has the
    # largest count of all, that is the second largest; if not, neither the largest nor the second largest is
    # below its own count. So clipping by the second largest is right for every text.
    _, second = _largest(counts)
    scores = []
    for text, own in zip(chosen, counts, strict=True):
        lengths[len(text)] -= 1
        scores.append(_sentence(own, len(text), second, +lengths))
        lengths[len(text)] += 1
    return _mean("self_bleu", scores)


#: The count of each n-gram in a text, for n = 1 to 5; orders are separate, since n-grams are strings.
_Counts = list[Counter[str]]


def _count(text: Text) -> _Counts:
    need("sacrebleu", "text", "BLEU")
    from sacrebleu import extract_word_ngrams

    return [extract_word_ngrams(list(text), n) for n in range(1, ORDERS[-1] + 1)]


def _largest(texts: Iterable[_Counts]) -> tuple[_Counts, _Counts]:
    """Return the largest and the second largest count that each n-gram has in any text.

    They are equal if two texts have it equally often; if only one text has it, the second is missing.
    """
    most: _Counts = [Counter() for _ in range(ORDERS[-1])]
    second: _Counts = [Counter() for _ in range(ORDERS[-1])]
    for text in texts:
        for counts, first, next_ in zip(text, most, second, strict=True):
            for ngram, count in counts.items():
                # By get: indexing a Counter by a missing key calls Python code.
                largest = first.get(ngram, 0)
                if count > largest:
                    first[ngram] = count
                    if largest:
                        next_[ngram] = largest
                elif count > next_.get(ngram, 0):
                    next_[ngram] = count
    return most, second


def _sentence(counts: _Counts, length: int, most: _Counts, lengths: Iterable[int]) -> dict[int, float]:
    """Return BLEU-n of one text.

    Args:
        counts: The text's n-gram counts.
        length: The text's length, in units.
        most: The count at which each n-gram is clipped.
        lengths: The lengths of the references.
    """
    from sacrebleu import BLEU

    nearest = min(lengths, key=lambda other: (abs(other - length), other))
    found = [
        sum(min(count, allowed.get(ngram, 0)) for ngram, count in own.items())
        for own, allowed in zip(counts, most, strict=True)
    ]
    total = [max(0, length - n) for n in range(len(counts))]
    scores = {}
    for n in ORDERS:
        score = BLEU.compute_bleu(
            found[:n],
            total[:n],
            length,
            nearest,
            smooth_method="floor",
            smooth_value=0.1,
            effective_order=True,
            max_ngram_order=n,
        )
        # It is in percent, and as a product of roots not always exactly 100 for a perfect match.
        scores[n] = min(1.0, score.score / 100)
    return scores


def _mean(name: str, scores: Sequence[dict[int, float]]) -> dict[str, float]:
    return {f"{name}_{n}": sum(score[n] for score in scores) / len(scores) for n in ORDERS}


def _spread(texts: Sequence[T], most: int) -> Sequence[T]:
    """Return ``most`` texts at equal distances, or all if there are fewer."""
    if len(texts) <= most:
        return texts
    return [texts[number * len(texts) // most] for number in range(most)]
