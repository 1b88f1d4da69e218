"""Texts as training data: their settings, what ``--data`` may name, and the data set itself."""

from __future__ import annotations

import functools
import itertools
from array import array
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from mmgan.config import Config
from mmgan.counting import counted
from mmgan.data.dataset import Dataset, Draw
from mmgan.data.fingerprints import content_of
from mmgan.data.text.rows import Repeated, TokenRows
from mmgan.data.text.sources import TextFolder, TextSource
from mmgan.data.text.tokenizers import Tokenizer, suitable_kind, train_tokenizer
from mmgan.data.tree import list_others, list_skipped
from mmgan.errors import DataError

if TYPE_CHECKING:
    from mmgan.data.image.dataset import Progress

#: Most different held-out texts: more make a measurement slower and hardly more exact.
_MOST_HELD_OUT = 5_000
#: Kinds of files that hold texts but not as lines.
_NOT_READ = {
    **dict.fromkeys((".parquet", ".feather", ".arrow", ".orc", ".avro"), "a binary table"),
    **dict.fromkeys((".xlsx", ".xls", ".ods"), "a spreadsheet"),
    **dict.fromkeys((".docx", ".doc", ".odt", ".pdf", ".epub", ".rtf"), "a document"),
    **dict.fromkeys((".zip", ".gz", ".bz2", ".xz", ".zst", ".tar", ".tgz", ".7z"), "a packed file"),
    **dict.fromkeys((".db", ".sqlite", ".sqlite3"), "a database"),
    **dict.fromkeys((".pkl", ".pickle", ".npy", ".npz", ".pt", ".h5"), "a file of Python's"),
}


class TextConfig(Config):
    """The settings of a task that trains on texts."""

    tokenizer: Literal["auto", "sentencepiece", "word", "char"] = Field(
        "auto",
        description="what a token is: a piece of a word, a whole word, or a character; "
        "auto: char for scripts without spaces, else sentencepiece",
    )
    vocabulary: int = Field(2000, ge=4, description="most tokens that a tokenizer makes")
    length: int = Field(32, ge=2, le=65_536, description="tokens in a text; longer texts are cut")
    column: str = Field(
        "",
        description="column of the texts in .csv, .tsv, .jsonl, .ndjson and .json files; empty: the one "
        "named text, or the only one that holds texts",
    )
    held_out: float = Field(
        0.1, gt=0, lt=1, description="fraction of the texts that is held out from training, to measure on"
    )


class TextData(Dataset):
    """Texts as tokens: one part to train on, and another part, held out, to measure on.

    Which texts are held out depends on the seed and on the distinct texts in the order of the source, not on
    the tokenizer. Equal texts are all in one part, and all count. Texts that are equal only after they are
    cut may be in both.

    Args:
        source: Where the texts come from.
        config: Their length and the like.
        tokenizer: The tokenizer of a resumed run; without one, one is trained on the training texts.
        progress: Called repeatedly while texts are encoded.

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
        # A file may hold millions of texts, most of them repeatedly: each distinct one has a number.
        known: dict[str, int] = {}
        numbers = array("i", (known.setdefault(text, len(known)) for text in source.texts()))
        #: The name of each file or part of a file that was skipped, and why.
        self.skipped = list(source.skipped)
        if len(known) < 3:
            raise _too_few(source, len(numbers), len(known))
        distinct = list(known)
        del known
        held = _held_out(len(distinct), config)
        every = np.frombuffer(numbers, dtype=np.int32)
        training = Repeated(distinct, every[~held[every]])
        #: The tokenizer that made the tokens.
        self.tokenizer = tokenizer or train_tokenizer(
            suitable_kind(training) if config.tokenizer == "auto" else config.tokenizer,
            training,
            config.vocabulary,
        )
        self._rows = TokenRows(
            self.tokenizer,
            distinct,
            config.length,
            lambda done: progress(done, len(distinct)) if progress else None,
        )
        # The numbers of the distinct texts, to train on and held out.
        self._training, self._kept = torch.from_numpy(training.numbers), torch.from_numpy(every[held[every]])
        #: How many of the texts to train on were cut.
        self.cut = int(self._rows.cut[self._training].sum())
        self.fingerprint = content_of(source)
        #: The fraction of UNKNOWN among the held-out tokens.
        self.unknown = self._rows.unknown(self._kept)
        self.description = _describe(self, source, config, self._rows.lengths[~held], len(self._kept))

    @functools.cached_property
    def tokens(self) -> Tensor:
        """The texts to train on: int32 (texts, length), padded with BOUNDARY.

        A text of exactly ``length`` tokens, or one that was cut, has no BOUNDARY.
        """
        return self._rows.rows(self._training)

    @functools.cached_property
    def held_out(self) -> Tensor:
        """The held-out texts, likewise: int64 (texts, length)."""
        return self._rows.rows(self._kept).long()

    @functools.cached_property
    def texts(self) -> list[str]:
        """The training texts decoded from their tokens: cut, with U+FFFD for UNKNOWN."""
        return [self._told[number] for number in self._training.tolist()]

    @functools.cached_property
    def held_out_texts(self) -> list[str]:
        """The held-out texts, likewise."""
        return [self._told[number] for number in self._kept.tolist()]

    @functools.cached_property
    def _told(self) -> list[str]:
        return self._rows.decode()

    def __len__(self) -> int:
        return len(self._training)

    def batch(self, indices: Tensor, draw: Draw) -> Tensor:
        """Return texts of the training part: int64 (batch, length), padded with BOUNDARY.

        Args:
            indices: int64 (batch,).
            draw: Not used.
        """
        return self._rows.rows(self._training[indices]).long()


def open_folder(path: str, config: TextConfig) -> TextSource:
    """Open a folder of text files and tables, or one such file.

    Raises:
        DataError: There is no such folder or file, or it is of a kind that has no lines.
    """
    if not Path(path).exists():
        raise DataError(
            f"There is no folder or file {path!r}.",
            hint="Give --data a text file with one text a line, or a folder of .txt files.",
        )
    if Path(path).is_file() and (kind := _NOT_READ.get(Path(path).suffix.lower())):
        raise DataError(
            f"{path!r} is {kind}, which is not read.",
            hint="Save its texts as a .txt file with one text a line, or as .csv or .jsonl with a column of "
            "texts.",
        )
    return TextFolder(Path(path), config.column)


def _held_out(distinct: int, config: TextConfig) -> NDArray[np.bool_]:
    """Choose the distinct texts that are held out: at least one, and few enough to leave two.

    Returns:
        (distinct,): whether each one is held out.
    """
    order = torch.randperm(distinct, generator=torch.Generator().manual_seed(config.seed))
    count = min(max(1, round(config.held_out * distinct)), _MOST_HELD_OUT, distinct - 2)
    held = np.zeros(distinct, dtype=np.bool_)
    held[order[:count].numpy()] = True
    return held


def _missing(source: TextSource) -> str:
    """Write what was read and what was not: ``"; 2 skipped: a.txt (empty file), …; 5 blank lines"``."""
    blank = f"; {source.blank:,} blank line{'s' * (source.blank > 1)}" if source.blank else ""
    return f"{_columns(source)}{list_skipped(source.skipped)}{blank}{list_others(source)}"


def _columns(source: TextSource) -> str:
    """Write which columns were read: ``'; column "text" of a.csv, b.csv and 3 more'``."""
    files: dict[str, list[str]] = {}
    for file, column in getattr(source, "columns", ()):
        files.setdefault(column, []).append(file if file.isprintable() else ascii(file))
    return "".join(
        f"; column {_quoted(column[:40])} of {', '.join(names[:3])}"
        + (f" and {len(names) - 3:,} more" if len(names) > 3 else "")
        for column, names in itertools.islice(files.items(), 3)
    ) + (f"; {len(files) - 3:,} more columns" if len(files) > 3 else "")


def _quoted(text: str) -> str:
    return f'"{text}"' if text.isprintable() else ascii(text)


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


def _describe(data: TextData, source: TextSource, config: TextConfig, lengths: Tensor, held_out: int) -> str:
    shortest, longest = int(lengths.min()), int(lengths.max())
    span = f"{shortest:,}-{longest:,}" if shortest < longest else f"{longest:,}"
    cut = f"; {data.cut:,} cut to {config.length:,} tokens" if data.cut else ""
    unknown = f"; {100 * data.unknown:.3g}% of held-out tokens unknown" if data.unknown else ""
    return (
        f"{counted(len(data), 'text')} of {span} token{'s' * (longest > 1)}, {data.tokenizer.kind} with "
        f"{len(data.tokenizer):,} tokens; {held_out:,} held out{cut}{unknown}{_missing(source)}"
    )
