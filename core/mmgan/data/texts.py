"""Texts as training data: their settings, what ``--data`` may name, and the data set itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch
from pydantic import Field
from torch import Tensor

from mmgan.config import Config
from mmgan.data.dataset import Dataset, Draw
from mmgan.data.text_sources import TextFolder, TextSource
from mmgan.data.tokenizers import BOUNDARY, UNKNOWN, Tokenizer, suitable_kind, train_tokenizer
from mmgan.data.tree import list_skipped
from mmgan.errors import DataError

if TYPE_CHECKING:
    from mmgan.data.images import Progress

#: More different held-out texts than that make a measurement slower and hardly more exact.
_MOST_HELD_OUT = 5_000
#: How many texts are encoded in one go.
_BATCH = 4_096


class TextConfig(Config):
    """The settings of a task that trains on texts."""

    tokenizer: Literal["auto", "sentencepiece", "word", "char"] = Field(
        "auto",
        description="what a token is: a piece of a word, a whole word, or a character; "
        "auto: char for scripts without spaces, else sentencepiece",
    )
    vocabulary: int = Field(2000, ge=4, description="most tokens that a tokenizer makes")
    length: int = Field(32, ge=2, description="tokens in a text; longer texts are cut")
    held_out: float = Field(
        0.1, gt=0, lt=1, description="part of the texts that is kept from training, to measure on"
    )


class TextData(Dataset):
    """Texts as tokens: one part to train on, and another one, held out, to measure on.

    Which texts are held out depends on the seed and on the different texts in the order of the source, and
    not on the tokenizer. Equal texts are on one side, where each of them counts. Texts that differ only
    behind where they are cut may be on both.

    Args:
        source: Where the texts come from.
        config: Their length and the like.
        tokenizer: That of a run which is resumed; without one, one is trained on the texts to train on.
        progress: Called now and then while texts are encoded.

    Raises:
        DataError: There are fewer than 3 different texts, or no tokenizer can be trained on them.
    """

    def __init__(
        self,
        source: TextSource,
        config: TextConfig,
        tokenizer: Tokenizer | None = None,
        progress: Progress | None = None,
    ) -> None:
        every = list(source.texts())
        #: The name of each file that was skipped or in which a line was, and why.
        self.skipped = list(source.skipped)
        if len(distinct := list(dict.fromkeys(every))) < 3:
            raise _too_few(source, len(every), len(distinct))
        held = _held_out(distinct, config)
        training = [text for text in every if text not in held]
        kept = [text for text in every if text in held]
        #: What made the tokens.
        self.tokenizer = tokenizer or train_tokenizer(
            suitable_kind(training) if config.tokenizer == "auto" else config.tokenizer,
            training,
            config.vocabulary,
        )

        def report(done: int) -> None:
            if progress:
                progress(done, len(every))

        #: int32 (texts, length): the texts to train on, padded with BOUNDARY. One of exactly ``length``
        #: tokens, or one that was cut, has none.
        self.tokens, lengths = _encode(self.tokenizer, training, config.length, report)
        tokens, _ = _encode(self.tokenizer, kept, config.length, lambda done: report(len(training) + done))
        #: int64 (texts, length): those that are held out.
        self.held_out = tokens.long()
        #: The texts to train on, as their tokens tell them: cut, and with U+FFFD for what is unknown.
        self.texts = [self.tokenizer.decode(row) for row in self.tokens.tolist()]
        #: Those that are held out, likewise.
        self.held_out_texts = [self.tokenizer.decode(row) for row in self.held_out.tolist()]
        #: How many of the texts to train on were cut.
        self.cut = int((lengths > config.length).sum())
        #: The share of UNKNOWN among the tokens that are held out.
        self.unknown = float((self.held_out == UNKNOWN).sum() / (self.held_out != BOUNDARY).sum())
        self.description = _describe(self, source, config, lengths.clamp(max=config.length))

    def __len__(self) -> int:
        return len(self.tokens)

    def batch(self, indices: Tensor, draw: Draw) -> Tensor:
        """Return texts to train on: int64 (batch, length). Nothing is drawn."""
        return self.tokens[indices].long()


def open_folder(path: str, config: TextConfig) -> TextSource:
    """Open a folder of text files, or one text file.

    Raises:
        DataError: There is no such folder or file.
    """
    if not Path(path).exists():
        raise DataError(
            f"There is no folder or file {path!r}.",
            hint="Give --data a text file with one text a line, or a folder of .txt files.",
        )
    return TextFolder(Path(path))


def _held_out(distinct: list[str], config: TextConfig) -> set[str]:
    """Choose the texts that are held out: at least one, and never so many that fewer than two are left."""
    order = torch.randperm(len(distinct), generator=torch.Generator().manual_seed(config.seed))
    count = min(max(1, round(config.held_out * len(distinct))), _MOST_HELD_OUT, len(distinct) - 2)
    return {distinct[number] for number in order[:count].tolist()}


def _encode(
    tokenizer: Tokenizer, texts: list[str], length: int, report: Callable[[int], None]
) -> tuple[Tensor, Tensor]:
    """Return tokens, int32 (texts, length), and the length of each text before it was cut, int64 (texts,)."""
    tokens = torch.full((len(texts), length), BOUNDARY, dtype=torch.int32)
    lengths = torch.zeros(len(texts), dtype=torch.int64)
    for start in range(0, len(texts), _BATCH):
        encoded = tokenizer.encode_all(texts[start : start + _BATCH])
        rows = [row[:length] + [BOUNDARY] * (length - len(row)) for row in encoded]
        tokens[start : start + len(rows)] = torch.tensor(rows, dtype=torch.int32)
        lengths[start : start + len(rows)] = torch.tensor([len(row) for row in encoded])
        report(start + len(rows))
    return tokens, lengths


def _missing(source: TextSource) -> str:
    """Write what is no text: ``"; 2 skipped: a.txt (empty file), …; 5 blank lines; 3 other files"``."""
    blank = f"; {source.blank:,} blank line{'s' * (source.blank > 1)}" if source.blank else ""
    others = f"; {source.others:,} other files" if source.others else ""
    return f"{list_skipped(source.skipped)}{blank}{others}"


def _too_few(source: TextSource, texts: int, distinct: int) -> DataError:
    found = f"{texts:,} text{'s' * (texts > 1)}" if texts else "no text"
    if distinct < texts:
        found += f", of which only {distinct:,} {'differ' if distinct > 1 else 'differs'}"
    return DataError(
        f"{source} has {found}, and a GAN needs at least 2 different ones to learn from and "
        f"another one that is held out{_missing(source)}.",
        hint="Give --data a UTF-8 text file with one text a line, or a folder of .txt files; "
        "subfolders are searched too.",
    )


def _describe(data: TextData, source: TextSource, config: TextConfig, lengths: Tensor) -> str:
    shortest, longest = int(lengths.min()), int(lengths.max())
    span = f"{shortest:,}-{longest:,}" if shortest < longest else f"{longest:,}"
    cut = f"; {data.cut:,} cut to {config.length:,} tokens" if data.cut else ""
    unknown = f"; {100 * data.unknown:.2g}% of held-out tokens unknown" if data.unknown else ""
    return (
        f"{len(data):,} texts of {span} token{'s' * (longest > 1)}, {data.tokenizer.kind} with "
        f"{len(data.tokenizer):,} tokens; {len(data.held_out):,} held out{cut}{unknown}{_missing(source)}"
    )
