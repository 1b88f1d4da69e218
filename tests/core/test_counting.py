"""One sample, two samples."""

from __future__ import annotations

import pytest

from mmgan.counting import counted


@pytest.mark.parametrize(
    ("n", "words", "text"),
    [
        (1, ("sample",), "1 sample"),
        (0, ("sample",), "0 samples"),
        (12_000, ("sample",), "12,000 samples"),
        (1, ("process", "processes"), "1 process"),
        (2, ("process", "processes"), "2 processes"),
    ],
)
def test_a_number_with_its_noun(n: int, words: tuple[str, ...], text: str) -> None:
    assert counted(n, *words) == text
