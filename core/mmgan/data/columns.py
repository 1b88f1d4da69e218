"""What a batch holds beside pictures or sounds: labels, captions, any column of a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mmgan.data.info import LONGEST_NAME, MOST_CLASSES, DataInfo, vocabulary
from mmgan.data.table import Table, class_names
from mmgan.data.tree import list_skipped
from mmgan.errors import DataError, PluginError, did_you_mean

#: The class of files that lie beside the folders of the other classes.
BESIDE = "."


@dataclass(frozen=True)
class Columns:
    """The columns of a data set that a batch holds.

    Args:
        own: What the examples are: "images", "sounds".
        kept: int64 (examples,): which of the source's readable items each one is.
        labels: int64 (examples,): the class of each one, from 0.
        classes: The classes' names; () where they have none and no batch holds a label.
        names: The columns that there are, held or not.
        values: Those that are held: int64, float32 or bool tensors (examples,), or lists of texts.
        incomplete: The name of each item that is left out since a value is missing, and which.
        problems: Where the table has what can't be used, and why.
    """

    own: str
    kept: NDArray[np.int64]
    labels: Tensor
    classes: tuple[str, ...]
    names: tuple[str, ...]
    values: Mapping[str, Tensor | list[str]]
    incomplete: list[tuple[str, str]]
    problems: Sequence[tuple[str, str]] = ()

    @property
    def told(self) -> str:
        """What the description of the data says of them."""
        return list_skipped(self.incomplete, "left out") + list_skipped(list(self.problems), "ignored")

    def batch(self, examples: Tensor, indices: Tensor) -> Any:
        """Return a batch: the examples alone, or where columns are held a dict of them all by their names.

        Args:
            examples: (batch, ...).
            indices: int64 (batch,), which examples they are.
        """
        if not self.values:
            return examples
        return {self.own: examples, **self._of(indices)}

    def repeated(self, counts: NDArray[np.int64]) -> Columns:
        """Return the columns of examples of which each kept item has as many as ``counts`` says."""
        return self.only(torch.from_numpy(np.repeat(np.arange(len(self.kept)), counts)))

    def only(self, which: Tensor) -> Columns:
        """Return the columns of some examples, given by int64 indices or bool (examples,). Classes stay."""
        which = which.nonzero()[:, 0] if which.dtype == torch.bool else which
        kept, labels = self.kept[which.numpy()], self.labels[which]
        return replace(self, kept=kept, labels=labels, values=self._of(which))

    def _of(self, indices: Tensor) -> dict[str, Tensor | list[str]]:
        """Return the values of some examples, int64 (n,)."""
        return {
            name: values[indices] if isinstance(values, Tensor) else [values[i] for i in indices.tolist()]
            for name, values in self.values.items()
        }

    def info(self, shape: tuple[int, ...]) -> DataInfo:
        """Return what is known of the data set, whose examples have this shape."""
        texts = self.values.get("text", [])
        counts = torch.bincount(self.labels, minlength=len(self.classes)).tolist() if self.classes else []
        return DataInfo(
            examples=len(self.kept),
            shape=shape,
            classes=self.classes,
            counts=tuple(counts),
            columns=self.names,
            vocabulary=vocabulary(texts) if isinstance(texts, list) else (),
        )


def read_columns(
    own: str,
    holds: Sequence[str],
    source: Any,
    labels: Sequence[int],
    skipped: Sequence[tuple[str, str]],
) -> Columns:
    """Read the columns that a batch holds beside the examples.

    Args:
        own: What the examples are: "images", "sounds".
        holds: What a batch holds, such as ("images", "label"); nothing, or ``own`` alone, for no column.
        source: Where the examples come from. It may have ``classes``, the names of the classes, and
            ``table``, a :class:`mmgan.data.table.Table` with a value of each column for each item.
        labels: The label that the source gave each readable item.
        skipped: The names of the items that can't be read, with reasons, in the source's order.

    Raises:
        PluginError: ``holds`` lacks ``own``.
        DataError: There is no such column, there are too many classes, or fewer than two examples have all
            that is held.
    """
    held = [name for name in holds if name != own]
    if holds and own not in holds:
        raise PluginError(f"A batch that holds {', '.join(holds)} must hold {own!r} too.")
    numbers = np.array(labels, dtype=np.int64)
    classes, places = _names(source, numbers)
    if not held:
        # A stranger's labels may be any numbers, which matter to nobody here.
        classes = classes if places is numbers and len(classes) <= MOST_CLASSES else ()
        return Columns(own, np.arange(len(labels)), torch.from_numpy(numbers), classes, (), {}, [])

    # Read only where they are wanted, since each caption may be a file of its own.
    table: Table = source.table if hasattr(source, "table") else Table()
    items = _readable(source, skipped, len(labels))
    columns: dict[str, list[Any]] = {
        name: [values[i] for i in items] for name, values in table.columns.items()
    }
    if "label" in columns:
        classes, columns["label"] = _named(columns["label"])
    elif classes:
        columns["label"] = places.tolist()
    for name in held:
        if name not in columns:
            raise _unknown(name, list(columns), source, own)

    missing = [[name for name in held if columns[name][row] is None] for row in range(len(items))]
    kept = np.array([row for row, names in enumerate(missing) if not names], dtype=np.int64)
    incomplete = [
        (source.name(items[row]), f"no {' and no '.join(names)}")
        for row, names in enumerate(missing)
        if names
    ]
    if len(kept) < 2:
        raise DataError(
            f"{source} has {len(kept)} examples with {' and '.join(held)}, and at least 2 are needed"
            f"{list_skipped(incomplete, 'left out')}.",
            hint=_HINT,
        )
    labels = [columns["label"][row] for row in kept] if "label" in columns else []
    if labels and None not in labels:
        classes, numbers = _present(classes, labels)
    else:
        classes, numbers = (), np.zeros(len(kept), dtype=np.int64)
    longest = max(map(len, classes), default=0)
    if len(classes) > MOST_CLASSES or longest > LONGEST_NAME:
        if "label" in held:
            told = (
                f"{len(classes):,} classes, and at most {MOST_CLASSES:,} can be learned"
                if len(classes) > MOST_CLASSES
                else f"a label of {longest:,} characters, and at most {LONGEST_NAME:,} can be kept"
            )
            raise DataError(
                f"{source} has {told}.",
                hint="A column `label` names classes; captions and file names belong in other columns.",
            )
        classes, numbers = (), np.zeros(len(kept), dtype=np.int64)
    values = {name: _column([columns[name][row] for row in kept]) for name in held if name != "label"}
    if "label" in held:
        values["label"] = torch.from_numpy(numbers)
    return Columns(
        own,
        kept,
        torch.from_numpy(numbers),
        classes,
        tuple(sorted(columns)),
        values,
        incomplete,
        table.problems,
    )


_HINT = (
    "Labels are the names of subfolders, or a column `label` of a metadata.csv or metadata.jsonl; "
    "captions a column `text`, or a file name.txt beside each name.png."
)


def _names(source: Any, labels: NDArray[np.int64]) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """Return the names of the source's classes, and each label's place in them.

    The names are numbers where the source has none, and () where there is one class. Places are the labels
    themselves, unless these are such as no list could be as long as.
    """
    own = getattr(source, "classes", ())
    # A source of before this had a meaning may call something else so. ImageNet's classes have several names.
    names = own if isinstance(own, list | tuple) else ()
    given = [", ".join(map(str, name)) if isinstance(name, tuple) else str(name) for name in names]
    if given == [""] or (not given and not labels.any()):
        return (), labels
    least, most = int(labels.min(initial=0)), int(labels.max(initial=0))
    if least >= 0 and most < len(given):
        return tuple(_text(name) or BESIDE for name in given), labels
    if least >= 0 and most < MOST_CLASSES:
        return tuple(map(str, range(most + 1))), labels
    present, places = np.unique(labels, return_inverse=True)
    return tuple(map(str, present.tolist())), places.astype(np.int64)


def _text(name: str) -> str:
    """Return a class's name as text: that of a folder may be any bytes."""
    return name.encode(errors="backslashreplace").decode()[:LONGEST_NAME]


def _present(
    classes: tuple[str, ...], labels: Sequence[int] | NDArray[np.int64]
) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """Leave out the classes without an example: no generator can learn them."""
    present, numbers = np.unique(np.array(labels, dtype=np.int64), return_inverse=True)
    return tuple(classes[number] for number in present), numbers.astype(np.int64)


def _named(values: list[Any]) -> tuple[tuple[str, ...], list[int | None]]:
    """Return the classes that a column of labels names, in order, and each label's place in them."""
    names = [None if value is None else str(value) for value in values]
    classes = tuple(class_names(values))
    places = {name: place for place, name in enumerate(classes)}
    return classes, [None if name is None else places[name] for name in names]


def _readable(source: Any, skipped: Sequence[tuple[str, str]], count: int) -> list[int]:
    """Return which of the source's items are readable: those whose names are not among the skipped."""
    if not skipped:
        return list(range(count))
    readable, place = [], 0
    for item in range(len(source)):
        if place < len(skipped) and source.name(item) == skipped[place][0]:
            place += 1
        else:
            readable.append(item)
    return readable


def _column(values: list[Any]) -> Tensor | list[str]:
    """Turn numbers into a tensor, and anything else into texts."""
    kinds = {type(value) for value in values}
    if kinds == {bool}:
        return torch.tensor(values)
    if kinds == {int} and all(abs(value) < 2**63 for value in values):
        return torch.tensor(values, dtype=torch.int64)
    if kinds <= {int, float}:
        return torch.tensor([float(value) for value in values], dtype=torch.float32)
    return [str(value) for value in values]


def _unknown(name: str, names: list[str], source: Any, own: str) -> DataError:
    if name == "label":
        return DataError(f"{source} has no classes to learn: all its {own} are of one kind.", hint=_HINT)
    found = f"its columns are {', '.join(sorted(names))}" if names else "it has no columns"
    return DataError(f"{source} has no {name!r}: {found}. {did_you_mean(name, names)}".rstrip(), hint=_HINT)
