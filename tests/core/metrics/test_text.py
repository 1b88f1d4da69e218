"""Metrics of texts: sacrebleu's own sentences, the plain way to leave one out, and closed forms."""

from __future__ import annotations

import random

import pytest
from sacrebleu import BLEU

from mmgan.errors import UsageError
from mmgan.metrics import text
from mmgan.metrics.text import References, bleu, self_bleu, text_scores

ORDERS = [2, 3, 4, 5]
BLEUS, SELF_BLEUS = ([f"{name}_{n}" for n in ORDERS] for name in ("bleu", "self_bleu"))


def soups(count: int, seed: int = 0, words: int = 12, shortest: int = 1) -> list[list[str]]:
    """Random texts of 1 to 15 units out of a few, so that n-grams of all orders meet again."""
    draw = random.Random(seed)
    return [[f"w{draw.randrange(words)}" for _ in range(draw.randint(shortest, 15))] for _ in range(count)]


def sentence(own: list[str], references: list[list[str]], n: int) -> float:
    """BLEU-n of a sentence by sacrebleu, each reference in a stream of its own."""
    metric = BLEU(
        tokenize="none", smooth_method="floor", smooth_value=0.1, max_ngram_order=n, effective_order=True
    )
    return metric.sentence_score(" ".join(own), [" ".join(other) for other in references]).score / 100


@pytest.mark.parametrize("n", ORDERS)
@pytest.mark.parametrize("words", [3, 12, 100])
def test_bleu_is_sacrebleus_of_each_sentence(n: int, words: int) -> None:
    generated, held_out = soups(25, 1, words), soups(30, 2, words)
    references = References(held_out)
    expected = [sentence(own, held_out, n) for own in generated]
    assert bleu(generated, references)[f"bleu_{n}"] == pytest.approx(sum(expected) / 25)
    for own, score in zip(generated, expected, strict=True):
        assert bleu([own], references)[f"bleu_{n}"] == pytest.approx(score)


@pytest.mark.parametrize("n", ORDERS)
@pytest.mark.parametrize("words", [3, 12, 100])
def test_self_bleu_leaves_each_text_out_in_turn(n: int, words: int) -> None:
    generated = soups(25, 3, words)
    # A text that is there twice, and one that alone holds the most of a word.
    generated += [generated[0], ["w0"] * 9, []]
    expected = []
    for number, own in enumerate(generated):
        others = generated[:number] + generated[number + 1 :]
        expected.append(bleu([own], References(others))[f"bleu_{n}"])
        assert expected[-1] == pytest.approx(sentence(own, others, n))
    assert self_bleu(generated)[f"self_bleu_{n}"] == pytest.approx(sum(expected) / len(expected))


def test_what_stands_in_the_references_scores_1_however_short() -> None:
    held_out = [*soups(20), ["w0"], ["w1", "w2"]]
    assert bleu(held_out, References(held_out)) == pytest.approx(dict.fromkeys(BLEUS, 1))


def test_disjoint_texts_score_0() -> None:
    own = [[f"{word}!" for word in other] for other in soups(20)]
    assert bleu(own, References(soups(20))) == dict.fromkeys(BLEUS, 0)


def test_closed_forms() -> None:
    # The 2-gram "a b" is found, and "b x" is not; of 1-grams, 2 of 3.
    found = bleu([["a", "b", "x"]], References([["a", "b", "c"]]))
    assert found["bleu_2"] == pytest.approx((2 / 3 * 1 / 2) ** (1 / 2))
    # No 3-gram is found: a tenth of one is. For 4-grams the text is too short.
    assert found["bleu_3"] == found["bleu_4"] == pytest.approx((2 / 3 * 1 / 2 * 0.1 / 1) ** (1 / 3))
    # Counts are clipped by the one reference that has the most.
    assert bleu([["a"] * 4], References([["a", "a", "b", "b"], ["a", "b", "b", "b"]]))[
        "bleu_2"
    ] == pytest.approx((2 / 4 * 1 / 3) ** (1 / 2))
    # Half as long as the nearest reference: exp(1 - 2).
    assert bleu([["a", "b"]], References([["a", "b", "c", "d"], list("abcdefgh")]))[
        "bleu_2"
    ] == pytest.approx(2.718281828**-1)


def test_a_set_of_one_text_is_its_own_copy() -> None:
    found = text_scores([["a", "b"]] * 8, soups(5), [["a", "b"], ["c"]])
    assert [found[name] for name in SELF_BLEUS] == pytest.approx([1] * 4)
    assert (found["unique"], found["copied"]) == (1 / 8, 1)


def test_names_and_bounds_of_the_scores() -> None:
    found = text_scores(soups(30, 1), soups(30, 2), soups(30, 3))
    assert list(found) == [
        *BLEUS,
        *SELF_BLEUS,
        "unique",
        "copied",
    ]
    assert all(0 <= score <= 1 for score in found.values())
    assert found["bleu_2"] > found["bleu_5"]


def test_copies_are_counted_each_time() -> None:
    generated = [["a", "b"], ["a", "b"], ["a"], ["c", "d", "e"]]
    for train in ([["a", "b"], ["a", "b"], ["b", "a"]], {("a", "b")}, iter([("a", "b")])):
        found = text_scores(generated, [["a"]], train)
        assert (found["unique"], found["copied"]) == (3 / 4, 2 / 4)
    assert text_scores(generated, [["a"]], [])["copied"] == 0


def test_a_set_that_is_more_diverse_has_less_self_bleu() -> None:
    few, many = soups(100, words=4, shortest=8), soups(100, words=500, shortest=8)
    assert all(self_bleu(few)[n] > 2 * self_bleu(many)[n] for n in SELF_BLEUS)


def test_characters_are_units_too_and_a_space_is_one() -> None:
    assert bleu(["a b", " ab "], References(["a b", " ab "])) == pytest.approx(dict.fromkeys(BLEUS, 1))
    # All three characters are found, and of the pairs "a " but not " b".
    assert bleu(["a b"], References(["ba "]))["bleu_2"] == pytest.approx((3 / 3 * 1 / 2) ** (1 / 2))
    words = [list(own) for own in ("a b", "ba ", "abab")]
    assert bleu(words, References(["ab a"])) == bleu(["a b", "ba ", "abab"], References([list("ab a")]))
    assert text_scores(["a b", "ba"], ["ab"], [list("a b")])["copied"] == 0.5


def test_texts_of_no_units_score_0() -> None:
    empty: list[list[str]] = [[], []]
    assert bleu(empty, References(soups(5))) == dict.fromkeys(BLEUS, 0)
    assert bleu(empty, References(empty)) == dict.fromkeys(BLEUS, 0)
    assert self_bleu(empty) == dict.fromkeys(SELF_BLEUS, 0)
    assert bleu(soups(3), References(empty)) == dict.fromkeys(BLEUS, 0)
    found = text_scores(empty, soups(5), [[]])
    assert (found["unique"], found["copied"]) == (0.5, 1)


def test_too_few_are_refused() -> None:
    with pytest.raises(UsageError, match="there are only 1: at least 2 are needed"):
        self_bleu([["a"]])
    with pytest.raises(UsageError, match="there are no references"):
        text_scores([["a"], ["b"]], [], [])
    with pytest.raises(UsageError, match="there are none"):
        text_scores([], [["a"]], [])
    with pytest.raises(UsageError, match="there are only 0"):
        self_bleu([])


def test_one_text_has_all_scores_but_self_bleu() -> None:
    found = text_scores([["a", "b"]], soups(5), [["a", "b"]])
    assert set(found) == {*BLEUS, "unique", "copied"}
    assert set(found.missing) == set(SELF_BLEUS)
    assert "at least 2" in found.missing["self_bleu_2"]


def test_the_cost_is_bounded_and_the_choice_even(monkeypatch: pytest.MonkeyPatch) -> None:
    counted: list[int] = []
    plain = text._count
    monkeypatch.setattr(text, "_count", lambda own: counted.append(1) or plain(own))
    before = random.getstate()
    found = text_scores(soups(1_200, 1), soups(5_000, 2), [])
    assert len(counted) == 2_000 + 500 + 500
    assert found == text_scores(soups(1_200, 1), soups(5_000, 2), [])
    assert random.getstate() == before
    monkeypatch.setattr(text, "MAX_GENERATED", 3)
    assert self_bleu(soups(10)) == self_bleu([soups(10)[number] for number in (0, 3, 6)])
    # Of all texts, since that costs little.
    assert text_scores([["a"], *[["b"]] * 9], [["a"]], [["b"]])["copied"] == 0.9
