"""What scores say in words."""

from __future__ import annotations

import pytest

from mmgan.metrics.features import PooledPixels, RandomFeatures
from mmgan.metrics.words import in_words

REAL = "99 pictures that were held out"
SCORES = {
    "plausible_random": 0.31,
    "coverage_random": 0.18,
    "copied_random": 0.02,
    "copied_pixels": 0.01,
    "frechet_random": 7.0,
}
ENDING = "Measured by random features (shapes and textures), against 99 pictures that were held out. "


def test_all_of_them() -> None:
    assert in_words(SCORES, RandomFeatures(), 100, REAL) == [
        "31 of 100 samples look real; they cover 18% of the data's variety; "
        "2 are copies of training pictures or close to it (of new real pictures about 1% would be).",
        f"{ENDING}Look at the samples too.",
    ]


@pytest.mark.parametrize(
    ("missing", "said"),
    [
        ("plausible", "100 samples cover 18% of the data's variety; 2 are copies of"),
        ("coverage", "31 of 100 samples look real; 2 are copies of training"),
        ("copied", "31 of 100 samples look real; they cover 18% of the data's variety."),
    ],
)
def test_what_is_missing_is_left_out(missing: str, said: str) -> None:
    scores = {name: value for name, value in SCORES.items() if not name.startswith(missing)}
    assert in_words(scores, RandomFeatures(), 100, REAL)[0].startswith(said)


def test_only_copies() -> None:
    found = in_words({"copied_random": 0.01}, RandomFeatures(), 100, REAL)
    assert found[0].startswith("1 of 100 samples is a copy of a training picture or close to it (")


def test_nothing_to_say() -> None:
    assert in_words({"frechet_random": 7.0}, RandomFeatures(), 100, REAL) == []
    # Scores in other features are no scores in these.
    assert in_words({"plausible_random": 0.5}, PooledPixels(), 100, REAL) == []


@pytest.mark.parametrize(
    ("coverage", "said"),
    [(0, "0%"), (0.0001, "less than 1%"), (0.5, "50%"), (0.9999, "more than 99%"), (1, "100%")],
)
def test_shares_do_not_say_too_much(coverage: float, said: str) -> None:
    found = in_words({"coverage_random": coverage}, RandomFeatures(), 20_000, REAL)
    assert found[0] == f"20,000 samples cover {said} of the data's variety."
