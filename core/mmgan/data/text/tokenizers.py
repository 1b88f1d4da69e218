"""Tokenizers: from texts to numbers and back. They are trained on texts, and stored in checkpoints."""

from __future__ import annotations

import io
import itertools
import unicodedata
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, TypeVar

import torch

from mmgan.counting import counted
from mmgan.data.text.excerpts import SPACE, TEXT_CHARACTERS, UNSEEN, excerpts
from mmgan.errors import CheckpointError, DataError, line
from mmgan.extras import need

#: The token that a sequence begins after, ends with, and is padded with.
BOUNDARY = 0
#: The token of anything outside the vocabulary.
UNKNOWN = 1
#: The first of the ordinary tokens.
_FIRST = 2
#: What stands for UNKNOWN in a text.
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"

#: Prefixes of Unicode's names of letters in scripts without spaces between words.
_UNSPACED = ("CJK", "HIRAGANA", "KATAKANA", "BOPOMOFO", "THAI", "LAO", "KHMER", "MYANMAR", "TIBETAN")

T = TypeVar("T")


class Tokenizer(ABC):
    """Turns a text into tokens, from 2 on, and back. Must be picklable, as data sets are."""

    #: The name of the kind in a state: "char", "word" or "sentencepiece".
    kind: ClassVar[str]

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of tokens, BOUNDARY and UNKNOWN included."""

    @abstractmethod
    def encode(self, text: str) -> list[int]:
        """Return the tokens of ``text``, each in [1, len(self)). No BOUNDARY is added."""

    @abstractmethod
    def decode(self, tokens: Iterable[int]) -> str:
        """Return ``tokens`` as one line of text, up to the first BOUNDARY; U+FFFD stands for UNKNOWN."""

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """Return the state for :func:`tokenizer_from_state`: text, or tensors where text can't hold it."""

    def units(self, text: str) -> list[str]:
        """Return the units that n-grams of ``text`` are made of: its words."""
        return text.split()

    def encode_all(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the tokens of each of ``texts``; may be faster than :meth:`encode` for each."""
        return [self.encode(text) for text in texts]


class _ListTokenizer(Tokenizer):
    """A vocabulary of the most frequent pieces.

    Args:
        pieces: The pieces of the tokens from 2 on.
    """

    #: The text between two pieces.
    joint: ClassVar[str]

    def __init__(self, pieces: Sequence[str]) -> None:
        self._pieces = ["", _REPLACEMENT, *pieces]
        self._tokens = {piece: token for token, piece in enumerate(pieces, _FIRST)}

    @classmethod
    def train(cls, texts: Iterable[str], vocabulary: int) -> _ListTokenizer:
        """Take the most frequent pieces of ``texts``; ties are broken by code points, the lower first.

        ``vocabulary`` is the largest number of tokens, including BOUNDARY and UNKNOWN.
        """
        counts: Counter[str] = Counter()
        for text in texts:
            counts.update(cls._split(text))
        pieces = sorted(counts, key=lambda piece: (-counts[piece], piece))
        return cls(pieces[: vocabulary - _FIRST])

    @staticmethod
    @abstractmethod
    def _split(text: str) -> Iterable[str]:
        """Return the pieces of a text in order."""

    def __len__(self) -> int:
        return len(self._pieces)

    def encode(self, text: str) -> list[int]:
        return [self._tokens.get(piece, UNKNOWN) for piece in self._split(text)]

    def decode(self, tokens: Iterable[int]) -> str:
        pieces = [self._pieces[token] for token in _until_boundary(tokens)]
        return " ".join(self.joint.join(pieces).split())

    def state(self) -> dict[str, Any]:
        return {"kind": self.kind, "pieces": self._pieces[_FIRST:]}


class CharTokenizer(_ListTokenizer):
    """A token for each character."""

    kind = "char"
    joint = ""

    @staticmethod
    def _split(text: str) -> str:
        return text

    def units(self, text: str) -> list[str]:
        """Return the units that n-grams of ``text`` are made of: its characters, without the spaces."""
        return list("".join(text.split()))


class WordTokenizer(_ListTokenizer):
    """A token for each word: everything between white space, including punctuation."""

    kind = "word"
    joint = " "

    @staticmethod
    def _split(text: str) -> list[str]:
        return text.split()


class SentencePieceTokenizer(Tokenizer):
    """A token for each piece of a word, by the unigram model of sentencepiece (Kudo 2018).

    Args:
        model: A serialized model of sentencepiece whose padding is token 0 and whose unknown is token 1.

    Raises:
        CheckpointError: It is not such a model.
    """

    kind = "sentencepiece"

    def __init__(self, model: bytes) -> None:
        need("sentencepiece", "text", "This tokenizer")
        from sentencepiece import SentencePieceProcessor

        self._model = model
        try:
            if not model:  # which sentencepiece would accept, and fail later
                raise RuntimeError("empty")
            self._processor = SentencePieceProcessor(model_proto=model)
        except RuntimeError as error:
            raise CheckpointError("The tokenizer of the checkpoint is not a sentencepiece model.") from error
        if (self._processor.pad_id(), self._processor.unk_id()) != (BOUNDARY, UNKNOWN):
            raise CheckpointError("The tokenizer of the checkpoint was not made by mmgan.")

    @classmethod
    def train(cls, texts: Sequence[str], vocabulary: int) -> SentencePieceTokenizer:
        """Train a model on ``texts``; it has fewer than ``vocabulary`` tokens if the texts are too short.

        Raises:
            DataError: There is too little text for any model.
        """
        need("sentencepiece", "text", "tokenizer = sentencepiece")
        from sentencepiece import SentencePieceTrainer

        model = io.BytesIO()
        try:
            SentencePieceTrainer.train(
                sentence_iterator=excerpts(texts, vocabulary),
                model_writer=model,
                model_type="unigram",
                vocab_size=vocabulary,
                hard_vocab_limit=False,
                # Rare characters were removed from the texts already.
                character_coverage=1.0,
                # The texts stay as they are, so that decoding gives them back.
                normalization_rule_name="identity",
                max_sentence_length=8 * TEXT_CHARACTERS,
                pad_id=BOUNDARY,
                unk_id=UNKNOWN,
                bos_id=-1,
                eos_id=-1,
                # Names with a space, which no piece has: a text may hold "<pad>" and the like.
                pad_piece="< boundary >",
                unk_piece="< unknown >",
                unk_surface=_REPLACEMENT,
                # Everything that depends on chance or on the machine.
                num_threads=1,
                shuffle_input_sentence=False,
                minloglevel=3,
            )
        except RuntimeError as error:
            raise DataError(
                f"sentencepiece can't train a tokenizer of {vocabulary:,} tokens on "
                f"{counted(len(texts), 'text')}: {line(error)}",
                hint="Use --set tokenizer=char, which needs no training, or give --data more text.",
            ) from error
        return cls(model.getvalue())

    def __reduce__(self) -> tuple[type[SentencePieceTokenizer], tuple[bytes]]:
        return type(self), (self._model,)

    def __len__(self) -> int:
        return int(self._processor.vocab_size())

    def encode(self, text: str) -> list[int]:
        """Return the tokens of the pieces of ``text``."""
        return self.encode_all([text])[0]

    def encode_all(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the tokens of each of ``texts``, at once."""
        # A literal "▁" in a text must become UNKNOWN, not a space: it is replaced by a character of no model.
        safe = [text.replace(SPACE, UNSEEN) for text in texts]
        # One thread, since worker processes are forked, and threads don't survive a fork.
        return [list(tokens) for tokens in self._processor.encode(safe, num_threads=1)]

    def decode(self, tokens: Iterable[int]) -> str:
        """Return the text of ``tokens``, up to the first BOUNDARY."""
        return " ".join(self._processor.decode(_until_boundary(tokens)).split())

    def state(self) -> dict[str, Any]:
        """Return the serialized model."""
        return {"kind": self.kind, "model": torch.frombuffer(bytearray(self._model), dtype=torch.uint8)}


def train_tokenizer(kind: str, texts: Sequence[str], vocabulary: int) -> Tokenizer:
    """Train a tokenizer; the same texts in the same order give the same one.

    Args:
        kind: ``sentencepiece``, ``word`` or ``char``.
        texts: One line each.
        vocabulary: The most tokens, including BOUNDARY and UNKNOWN.

    Raises:
        DataError: There is too little text, or fewer than 4 tokens are allowed.
    """
    if vocabulary < 4:
        raise DataError(
            f"A tokenizer of {vocabulary} tokens is too small; 4 are the least.",
            hint="Try: --set vocabulary=2000",
        )
    if not any(text and not text.isspace() for text in texts):
        raise DataError(
            "A tokenizer can't be trained on texts that are all empty.",
            hint="Give --data a text file with one text a line.",
        )
    match kind:
        case "char":
            return CharTokenizer.train(texts, vocabulary)
        case "word":
            return WordTokenizer.train(texts, vocabulary)
        case "sentencepiece":
            return SentencePieceTokenizer.train(texts, vocabulary)
    raise ValueError(f"unknown kind of tokenizer: {kind!r}")


def suitable_kind(texts: Sequence[str]) -> str:
    """Choose ``char`` if most letters are of scripts without spaces between words, else ``sentencepiece``.

    Args:
        texts: The texts, of which the first 1,000 are examined.
    """
    letters = [letter for text in texts[:1_000] for letter in text if letter.isalpha()]
    unspaced = sum(unicodedata.name(letter, "").startswith(_UNSPACED) for letter in letters)
    return "char" if 2 * unspaced > len(letters) else "sentencepiece"


def tokenizer_from_state(state: dict[str, Any]) -> Tokenizer:
    """Restore a tokenizer from the ``state`` that :meth:`Tokenizer.state` returned.

    Raises:
        CheckpointError: The state is not that of a tokenizer.
    """
    match state:
        case {"kind": "char", "pieces": list(pieces)}:
            return CharTokenizer(pieces)
        case {"kind": "word", "pieces": list(pieces)}:
            return WordTokenizer(pieces)
        case {"kind": "sentencepiece", "model": torch.Tensor() as model}:
            return SentencePieceTokenizer(model.cpu().numpy().tobytes())
    raise CheckpointError(f"The checkpoint's tokenizer is of an unknown kind: {state.get('kind')!r}.")


def _until_boundary(tokens: Iterable[int]) -> list[int]:
    return list(itertools.takewhile(lambda token: token != BOUNDARY, map(int, tokens)))
