"""What a rule is, and how it is told that a task breaks one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from mmgan.errors import PluginError, line
from mmgan.plugins.blame import TaskError, place, shown_place


class Skip(Exception):
    """Raised by a rule that does not apply; the text completes "skipped, because …"."""


@dataclass(frozen=True)
class Rule:
    """Something that every task must keep.

    Args:
        name: What it is called.
        why: What goes wrong where it is broken. One sentence.
        mend: How a task is mended that breaks it. One sentence.
        check: Given what is tried (of a task a :class:`mmgan.testing.bench.Bench`), gives a sentence for each
            way in which it breaks the rule, none where it is kept. An exception that it raises is one way
            more; :class:`Skip` says that the rule does not apply.
    """

    name: str
    why: str
    mend: str
    check: Callable[[Any], Iterable[str]]

    def apply(self, bench: Any) -> Result:
        """Try the rule on a task, or on a plugin without one."""
        whats: list[str] = []
        try:
            # One by one, so that what was found before an exception is not lost.
            for what in self.check(bench):
                whats.append(what)
        except Skip as skip:
            return Result(self.name, skipped=str(skip))
        # The task is a stranger's, and may raise anything.
        except Exception as error:
            whats.append(told(error, *bench.authors))
        return Result(self.name, tuple(Failure(self.name, what, self.why, self.mend) for what in whats))


def rule(name: str, *, why: str, mend: str) -> Callable[[Callable[[Any], Iterable[str]]], Rule]:
    """Make a :class:`Rule` of a function that checks it."""
    return lambda check: Rule(name, why, mend, check)


@dataclass(frozen=True)
class Failure:
    """A rule that a task breaks.

    Args:
        rule: The rule's name.
        what: What was seen.
        why: Why it matters.
        mend: What to do about it.
    """

    rule: str
    what: str
    why: str
    mend: str


@dataclass(frozen=True)
class Result:
    """What came of a rule.

    Args:
        rule: The rule's name.
        failures: Each way in which the task breaks it; none where it passed or was skipped.
        skipped: Why it does not apply, or "".
    """

    rule: str
    failures: tuple[Failure, ...] = ()
    skipped: str = ""

    @property
    def outcome(self) -> str:
        """``passed``, ``failed`` or ``skipped``."""
        return "failed" if self.failures else "skipped" if self.skipped else "passed"

    @property
    def what(self) -> str:
        """What was seen, or why it was skipped, in one line; "" where it passed."""
        seen = " ".join(failure.what for failure in self.failures)
        return seen or (f"because {self.skipped}" if self.skipped else "")


class ConformanceError(PluginError, AssertionError):
    """A task breaks rules.

    Args:
        task: The task's name.
        results: Of all rules.
    """

    def __init__(self, task: str, results: Sequence[Result]) -> None:
        self.failures = tuple(failure for result in results for failure in result.failures)
        outcomes = [result.outcome for result in results]
        failed, passed, skipped = (outcomes.count(name) for name in ("failed", "passed", "skipped"))
        head = f"{task} breaks {failed} of {len(results)} rules ({passed} passed, {skipped} skipped)."
        super().__init__("\n\n".join([head, *blocks(self.failures)]))


def blocks(failures: Iterable[Failure]) -> list[str]:
    """Write a block of lines for each broken rule: all that was seen, why it matters, what to do."""
    grouped: dict[str, list[Failure]] = {}
    for failure in failures:
        grouped.setdefault(failure.rule, []).append(failure)
    return [
        "\n".join(
            [
                f"{name}: " + "\n    ".join(failure.what for failure in group),
                f"  why:  {group[0].why}",
                f"  mend: {group[0].mend}",
            ]
        )
        for name, group in grouped.items()
    ]


def told(error: BaseException, *authors: type | ModuleType) -> str:
    """Say an exception in one line, with the last place in the author's code that it came from, if any."""
    cause = error.__cause__ if isinstance(error, PluginError) else None
    if isinstance(error, TaskError) and cause is not None:
        error, cause = cause, None
    frame = place(cause or error, *authors)
    where = f" {shown_place(frame)}" if frame else ""
    # What a hook raised is told as such: "Plugin 'watch' failed in after_log: …".
    text = line(error) if cause else f"{type(error).__name__}: {line(error)}".rstrip(": ")
    return text + where
