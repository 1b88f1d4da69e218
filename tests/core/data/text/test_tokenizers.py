import io
import json
import pickle
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

import mmgan
from mmgan.data.text.tokenizers import (
    BOUNDARY,
    UNKNOWN,
    suitable_kind,
    tokenizer_from_state,
    train_tokenizer,
)
from mmgan.errors import CheckpointError, DataError
from mmgan.storage import checkpoint

KINDS = ["sentencepiece", "word", "char"]
TEXTS = [
    "the cat sat on the mat",
    "the dog sat on the log",
    "the cat and the dog",
    "a hat is on the cat",
]


def make(kind, texts=TEXTS, vocabulary=2000):
    return train_tokenizer(kind, texts, vocabulary)


def as_bytes(tokenizer):
    state = tokenizer.state()
    return b"".join(
        value.numpy().tobytes() if isinstance(value, torch.Tensor) else json.dumps(value).encode()
        for value in state.values()
    )


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


# What holds for each kind.


@pytest.mark.parametrize("name", ["kjv", "phrases", "quatrains"])
def test_round_trips_on_real_texts(name, kind, shared_data):
    lines = (shared_data / "text" / f"{name}.txt").read_text(encoding="utf-8").splitlines()[:2000]
    texts = [" ".join(line.split()) for line in lines]
    tokenizer = make(kind, texts, 20_000)
    encoded = tokenizer.encode_all(texts)
    assert [tokenizer.decode(tokens) for tokens in encoded] == texts
    every = {token for tokens in encoded for token in tokens}
    assert min(every) >= 2
    assert max(every) < len(tokenizer) <= 20_000
    # Nearly every token is of use.
    assert len(every) > 0.9 * len(tokenizer)


def test_encoding_many_is_encoding_each(kind):
    tokenizer = make(kind)
    texts = [*TEXTS, "a new cat \u2581 \u2585", ""]
    encoded = tokenizer.encode_all(texts)
    assert encoded == [tokenizer.encode(text) for text in texts]
    assert encoded[-1] == []
    assert all(type(token) is int for tokens in encoded for token in tokens)


def test_decoding_stops_at_the_boundary(kind):
    tokenizer = make(kind)
    tokens = tokenizer.encode("the cat")
    assert BOUNDARY not in tokens
    assert tokenizer.decode([*tokens, BOUNDARY, *tokens, BOUNDARY]) == "the cat"
    assert tokenizer.decode(iter(tokens)) == "the cat"
    assert tokenizer.decode(torch.tensor([*tokens, BOUNDARY])) == "the cat"
    assert tokenizer.decode([BOUNDARY, *tokens]) == ""
    assert tokenizer.decode([]) == ""


def test_what_was_never_seen_is_unknown(kind):
    tokenizer = make(kind)
    for text in ("鼠", "Ж", "\u2581", "\u2585", "\U0010ffff"):
        tokens = tokenizer.encode(f"the {text} sat")
        assert tokens.count(UNKNOWN) == 1
        assert tokenizer.decode(tokens) == "the \N{REPLACEMENT CHARACTER} sat"
        assert UNKNOWN in tokenizer.encode(text)
    assert UNKNOWN not in tokenizer.encode("the cat sat")


def test_decoding_gives_one_line_with_single_spaces(kind):
    tokenizer = make(kind, [*TEXTS, "line\nbreak", "tab\tand\u2028separator"])
    for token in range(2, len(tokenizer)):
        text = tokenizer.decode([token, 2, token, token])
        assert text == " ".join(text.split())


def test_every_token_decodes(kind):
    tokenizer = make(kind)
    assert tokenizer.decode(range(1, len(tokenizer))).startswith("\N{REPLACEMENT CHARACTER}")
    with pytest.raises(IndexError):
        tokenizer.decode([len(tokenizer)])


def test_training_twice_gives_the_same_bytes(kind):
    assert as_bytes(make(kind)) == as_bytes(make(kind))
    assert as_bytes(make(kind)) != as_bytes(make(kind, [*TEXTS, "zebra"]))


@pytest.mark.process
@pytest.mark.slow
def test_another_process_gives_the_same_bytes():
    program = (
        "import pickle, sys; from mmgan.data.text.tokenizers import train_tokenizer; "
        f"tokenizers = [train_tokenizer(kind, {TEXTS!r}, 40) for kind in {KINDS!r}]; "
        "sys.stdout.buffer.write(pickle.dumps(tokenizers))"
    )
    environment = {"PYTHONPATH": str(Path(mmgan.__file__).parents[1]), "PYTHONHASHSEED": "1"}
    result = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True)
    assert result.stderr == b""
    for kind, tokenizer in zip(KINDS, pickle.loads(result.stdout), strict=True):
        assert as_bytes(tokenizer) == as_bytes(make(kind, vocabulary=40))


def test_the_state_goes_through_a_checkpoint(kind, tmp_path):
    tokenizer = make(kind)
    path = checkpoint.save(tmp_path, 1, {}, {"tokenizer": tokenizer.state()})
    _, state = checkpoint.load(path)
    again = tokenizer_from_state(state["tokenizer"])
    assert type(again) is type(tokenizer)
    assert as_bytes(again) == as_bytes(tokenizer)
    assert again.encode_all(TEXTS) == tokenizer.encode_all(TEXTS)
    assert again.decode(again.encode(TEXTS[0])) == TEXTS[0]


@pytest.mark.parametrize("kind", ["word", "char"])
def test_the_state_is_json(kind):
    tokenizer = make(kind, ['"quotes" \\', "größe 鼠 \U0001f600"])
    again = tokenizer_from_state(json.loads(json.dumps(tokenizer.state())))
    assert as_bytes(again) == as_bytes(tokenizer)


def test_it_pickles(kind):
    tokenizer = make(kind)
    again = pickle.loads(pickle.dumps(tokenizer))
    assert (len(again), as_bytes(again)) == (len(tokenizer), as_bytes(tokenizer))
    assert again.encode_all(TEXTS) == tokenizer.encode_all(TEXTS)


def test_nothing_is_written(kind, capfd):
    tokenizer = make(kind, [*TEXTS, "x" * 10_000])
    tokenizer.decode(tokenizer.encode("the cat never seen 鼠"))
    assert capfd.readouterr() == ("", "")


def test_the_vocabulary_is_kept(kind):
    for vocabulary in (4, 5, 8, 12, 15):
        tokenizer = make(kind, vocabulary=vocabulary)
        assert len(tokenizer) <= vocabulary
        assert max(max(tokens) for tokens in tokenizer.encode_all(TEXTS)) < len(tokenizer)


@pytest.mark.parametrize("texts", [[], [""], ["", "  "]])
def test_no_text_at_all(kind, texts):
    with pytest.raises(DataError, match="texts that are all empty") as caught:
        make(kind, texts)
    assert caught.value.hint


def test_too_small_a_vocabulary(kind):
    with pytest.raises(DataError, match="3 tokens is too small; 4 are the least") as caught:
        make(kind, vocabulary=3)
    assert "vocabulary" in caught.value.hint


@pytest.mark.parametrize("text", ["a", "鼠", "a b", "\u200b", "e\u0301", "<pad>", "\U0001f600"])
def test_tiny_corpora(kind, text):
    tokenizer = make(kind, [text])
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_an_unknown_kind():
    with pytest.raises(ValueError, match="'letters'"):
        train_tokenizer("letters", TEXTS, 100)


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({}, "unknown kind: None"),
        ({"kind": "letters", "pieces": []}, "unknown kind: 'letters'"),
        (
            {"kind": "sentencepiece", "model": torch.tensor([1, 2], dtype=torch.uint8)},
            "not a sentencepiece model",
        ),
        (
            {"kind": "sentencepiece", "model": torch.tensor([], dtype=torch.uint8)},
            "not a sentencepiece model",
        ),
    ],
)
def test_states_that_are_none(state, message, capfd):
    with pytest.raises(CheckpointError, match=message):
        tokenizer_from_state(state)
    assert capfd.readouterr() == ("", "")


def test_a_model_that_others_made():
    import sentencepiece

    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXTS),
        model_writer=model,
        vocab_size=30,
        hard_vocab_limit=False,
        minloglevel=3,
    )
    state = {"kind": "sentencepiece", "model": torch.tensor(list(model.getvalue()), dtype=torch.uint8)}
    with pytest.raises(CheckpointError, match="not made by mmgan"):
        tokenizer_from_state(state)


# Characters and words.


def test_characters_by_frequency_then_code_point():
    tokenizer = make("char", ["bbb aa dd cc"])
    assert tokenizer.state() == {"kind": "char", "pieces": [" ", "b", "a", "c", "d"]}
    assert tokenizer.encode("ba d") == [3, 4, 2, 6]
    assert len(tokenizer) == 7
    few = make("char", ["bbb aa dd cc"], vocabulary=5)
    assert few.state()["pieces"] == [" ", "b", "a"]
    assert few.encode("cab") == [UNKNOWN, 4, 3]
    assert few.decode([UNKNOWN, 4, 3]) == "\N{REPLACEMENT CHARACTER}ab"


def test_words_by_frequency_then_code_point():
    tokenizer = make("word", ["Z the b", "the a b the"], vocabulary=5)
    assert tokenizer.state() == {"kind": "word", "pieces": ["the", "b", "Z"]}
    assert tokenizer.encode(" the  a Z") == [2, UNKNOWN, 4]
    assert tokenizer.decode([2, UNKNOWN, 4]) == "the \N{REPLACEMENT CHARACTER} Z"


def test_spaces_that_a_generator_makes_are_collapsed():
    tokenizer = make("char", ["a b"])
    space, letter = tokenizer.encode(" a")
    assert tokenizer.decode([space, letter, space, space, letter, space]) == "a a"


def test_units():
    text = "In the 始  beginning."
    assert make("char").units(text) == list("Inthe始beginning.")
    assert make("word").units(text) == make("sentencepiece").units(text)
    assert make("word").units(text) == ["In", "the", "始", "beginning."]


# Pieces of words.


def test_frequent_words_are_one_piece():
    tokenizer = make("sentencepiece", ["the lighthouse keeper", "a lighthouse", "the lighthouse"] * 20)
    assert len(tokenizer.encode("lighthouse lighthouse")) == 2


def test_the_text_is_not_normalised():
    texts = ["\uff21 \ufb01 ① \u212b x²", "e\u0301 é"]
    tokenizer = make("sentencepiece", texts)
    assert [tokenizer.decode(tokenizer.encode(text)) for text in texts] == texts


def test_names_of_special_pieces_are_ordinary_text():
    texts = ["<pad> is <unk> and <s> </s>", "< boundary > or < unknown >"] * 5
    tokenizer = make("sentencepiece", texts)
    for tokens in tokenizer.encode_all(texts):
        assert min(tokens) >= 2
    assert tokenizer.decode(tokenizer.encode(texts[0])) == texts[0]


def test_reserved_characters_are_unknown_and_spoil_nothing():
    # sentencepiece writes one of them for a space, and would pass over texts with the other one.
    tokenizer = make("sentencepiece", [f"{text} \u2581\u2585" for text in TEXTS])
    assert tokenizer.decode(tokenizer.encode(TEXTS[0])) == TEXTS[0]
    assert tokenizer.decode(tokenizer.encode("the\u2581cat")) == "the\N{REPLACEMENT CHARACTER}cat"


def test_a_large_alphabet_takes_half_of_the_vocabulary():
    frequent = "".join(map(chr, range(0x4E00, 0x4E00 + 30)))
    rare = "".join(map(chr, range(0x5E00, 0x5E00 + 500)))
    texts = [frequent] * 10 + [rare]
    tokenizer = make("sentencepiece", texts, vocabulary=62)
    assert UNKNOWN not in tokenizer.encode(frequent)
    assert set(tokenizer.encode(rare)) <= {UNKNOWN, *tokenizer.encode(" ")} | set(
        tokenizer.encode("x" + frequent)
    )
    assert len(tokenizer) <= 62
    assert UNKNOWN not in make("sentencepiece", texts).encode(rare)


def test_only_reserved_characters_can_not_be_trained_on(capfd):
    with pytest.raises(DataError, match="can't train a tokenizer of 100 tokens on 3 texts") as caught:
        make("sentencepiece", ["\u2581", "\u2585", "\u2585\u2581"], vocabulary=100)
    assert "tokenizer=char" in caught.value.hint
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "texts",
    [["a" * 1_000_000, "b"], ["ab" * 500_000] * 3, ["a" * n for n in range(1, 1000)]],
    ids=["one letter", "two letters", "all lengths"],
)
def test_repetition_takes_no_ages(texts):
    started = time.process_time()  # and not by the clock: others may use the machine
    tokenizer = make("sentencepiece", texts)
    assert time.process_time() - started < 60  # a second; without a limit it is many minutes
    assert tokenizer.decode(tokenizer.encode(texts[0])) == texts[0]


def test_too_much_text_is_taken_evenly(monkeypatch):
    monkeypatch.setattr("mmgan.data.text.excerpts._TRAINING_CHARACTERS", 3000)
    tokenizer = make("sentencepiece", ["aaa", "bbb"] * 500 + ["xxx", "yyy"] * 500)
    assert UNKNOWN not in tokenizer.encode("aaa xxx")
    assert tokenizer.decode(tokenizer.encode("bbb aaa yyy")) == "\ufffd aaa \ufffd"


def test_too_many_different_words_are_taken_evenly(monkeypatch):
    texts = ["aa", "bb", "cc", "dd"]
    assert UNKNOWN not in make("sentencepiece", texts).encode("aa bb cc dd")
    monkeypatch.setattr("mmgan.data.text.excerpts._TRAINING_WORDS", 4)
    tokenizer = make("sentencepiece", texts)
    assert UNKNOWN not in tokenizer.encode("aa cc")
    assert tokenizer.decode(tokenizer.encode("bb aa dd")) == "\ufffd aa \ufffd"


@pytest.mark.parametrize(
    ("texts", "kind"),
    [
        (["In the beginning", "God created"], "sentencepiece"),
        (["荷恩承顧託 執契恭臨撫", "a poem"], "char"),
        (["こんにちは"], "char"),
        (["안녕하세요 세계", "Привет, мир"], "sentencepiece"),
        (["1 2 3", "?!"], "sentencepiece"),
    ],
)
def test_the_kind_that_suits_a_script(texts: list[str], kind: str) -> None:
    assert suitable_kind(texts) == kind
