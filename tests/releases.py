"""The releases of libraries that tests are about: `make test-oldest` has older ones."""

from __future__ import annotations

from importlib.metadata import version

#: Whether click words and lays out its messages and pages as its newest releases do.
NEWEST_CLICK = tuple(map(int, version("click").split(".")[:2])) >= (8, 5)
