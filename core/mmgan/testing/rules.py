"""Rules, and reports of rules that are broken."""

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
    """A rule that every task must keep.

    Args:
        name: Its name.
        why: What goes wrong if it is broken. One sentence.
        mend: How to fix a task that breaks it. One sentence.
        check: Given the object under test (for a task a :class:`mmgan.testing.bench.Bench`), yields a
            sentence for each way in which it breaks the rule, none if the rule is kept. An exception counts
            as one more; :class:`Skip` means that the rule does not apply.
    """

    name: str
    why: str
    mend: str
    check: Callable[[Any], Iterable[str]]

    def apply(self, bench: Any) -> Result:
        """Check the rule on a task, or on a plugin without one."""
        whats: list[str] = []
        try:
            # One by one, so that findings before an exception are not lost.
            for what in self.check(bench):
                whats.append(what)
        except Skip as skip:
            return Result(self.name, skipped=str(skip))
        # Third-party code may raise anything.
        except Exception as error:
            whats.append(told(error, *bench.authors))
        return Result(self.name, tuple(Failure(self.name, what, self.why, self.mend) for what in whats))


def rule(name: str, *, why: str, mend: str) -> Callable[[Callable[[Any], Iterable[str]]], Rule]:
    """Make a function that checks a rule a :class:`Rule`."""
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
    """The result of a rule.

    Args:
        rule: The rule's name.
        failures: Each way in which the task breaks it; empty if it passed or was skipped.
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
        """What was seen, or why it was skipped, in one line; "" if it passed."""
        seen = " ".join(failure.what for failure in self.failures)
        return seen or (f"because {self.skipped}" if self.skipped else "")


class ConformanceError(PluginError, AssertionError):
    """Raised if a task breaks rules.

    Args:
        task: The task's name.
        results: The results of all rules.
    """

    def __init__(self, task: str, results: Sequence[Result]) -> None:
        self.failures = tuple(failure for result in results for failure in result.failures)
        outcomes = [result.outcome for result in results]
        failed, passed, skipped = (outcomes.count(name) for name in ("failed", "passed", "skipped"))
        head = f"{task} breaks {failed} of {len(results)} rules ({passed} passed, {skipped} skipped)."
        super().__init__("\n\n".join([head, *blocks(self.failures)]))


def blocks(failures: Iterable[Failure]) -> list[str]:
    """Return a block of lines for each broken rule: everything that was seen, why it matters, what to do."""
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
    """Format an exception in one line, with the last place in the author's code that it passed, if any."""
    cause = error.__cause__ if isinstance(error, PluginError) else None
    if isinstance(error, TaskError) and cause is not None:
        error, cause = cause, None
    frame = place(cause or error, *authors)
    where = f" {shown_place(frame)}" if frame else ""
    # Errors of hooks are reported as such: "Plugin 'watch' failed in after_log: …".
    text = line(error) if cause else f"{type(error).__name__}: {line(error)}".rstrip(": ")
    return text + where
