"""The house is as docs/architecture.md says: short files, and imports that run one way."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator
from inspect import ismodule
from pathlib import Path

import pytest

import mmgan
from mmgan.moved import MOVED

CORE = Path(mmgan.__file__).parent
FILES = {
    ".".join(path.relative_to(CORE.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(CORE.rglob("*.py"))
}
#: Rooms that nothing below them may use.
UPPER = ("cli", "bench", "testing", "listeners")


def imports(node: ast.AST) -> Iterator[str]:
    """Yield the modules of mmgan that a file imports when it runs, in functions too."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
            continue
        if isinstance(child, ast.ImportFrom) and child.module:
            for name in child.names:
                inner = f"{child.module}.{name.name}"
                yield inner if inner in FILES else child.module
        elif isinstance(child, ast.Import):
            yield from (name.name for name in child.names)
        yield from imports(child)


GRAPH = {
    module: {name for name in imports(ast.parse(path.read_text(encoding="utf-8"))) if name in FILES}
    - {module}
    for module, path in FILES.items()
}


def reachable(start: str) -> set[str]:
    seen: set[str] = set()
    waiting = [start]
    while waiting:
        for name in GRAPH[waiting.pop()] - seen:
            seen.add(name)
            waiting.append(name)
    return seen


def test_files_are_short() -> None:
    lines = {module: len(path.read_text(encoding="utf-8").splitlines()) for module, path in FILES.items()}
    assert {module: count for module, count in lines.items() if count > 300} == {}


def test_no_more_than_three_files_import_each_other() -> None:
    # The package's own __init__ imports nothing until a name is used.
    below = {module: reachable(module) for module in FILES}
    circles = {
        frozenset(name for name in below[module] if module in below[name])
        for module in FILES
        if module in below[module]
    }
    assert [sorted(circle) for circle in circles if len(circle) > 3] == []


@pytest.mark.parametrize("room", UPPER)
def test_nothing_below_uses_what_is_above(room: str) -> None:
    users = {
        module
        for module, names in GRAPH.items()
        if not module.startswith(tuple(f"mmgan.{upper}" for upper in UPPER))
        and any(name.startswith(f"mmgan.{room}") for name in names)
    }
    # A run's listeners are attached where it is opened; the command line and pytest are doors from outside.
    assert users <= {"mmgan.opening", "mmgan.__main__", "mmgan.pytest_plugin"}


ROOT = Path(__file__).resolve().parents[2]


def rooms(folder: Path, files: str) -> set[str]:
    """Return the folders that hold such files, by their places in a folder."""
    return {str(path.parent.relative_to(folder)) for path in folder.rglob(files)} - {"."}


def test_every_room_of_core_has_a_room_of_tests() -> None:
    tests = rooms(ROOT / "tests/core", "test_*.py")
    # A small room may have one file of tests instead.
    lone = {path.stem.removeprefix("test_") for path in (ROOT / "tests/core").glob("test_*.py")}
    assert rooms(CORE, "*.py") - tests - lone == set()
    assert tests - rooms(CORE, "*.py") == set()


PAGE = (ROOT / "docs/plugins.md").read_text(encoding="utf-8")
PUBLIC = set(re.findall(r"`(mmgan\.[a-z_.]+)`", PAGE.partition("## Public names")[2]))


def test_plugins_import_public_names_only() -> None:
    """A plugin in this repository has no door that a stranger's has not."""
    for path in sorted((ROOT / "plugins").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and str(node.module).partition(".")[0] == "mmgan":
                names = {alias.name for alias in node.names}
                assert not {name for name in names if name.startswith("_")}, path
                if node.module == "mmgan":
                    assert names <= set(mmgan.__all__), path
                else:
                    assert node.module in PUBLIC or str(node.module).startswith("mmgan.cli."), path
            elif isinstance(node, ast.Import):
                assert not any(alias.name.startswith("mmgan.") for alias in node.names), path


def test_core_imports_no_plugin() -> None:
    """It names one that is always there, and finds all others by their entry points."""
    plugins = {path.name for path in (ROOT / "plugins").iterdir()}
    for path in FILES.values():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = [str(getattr(node, "module", "")), *(alias.name for alias in node.names)]
                assert not plugins & {name.partition(".")[0] for name in names}, path


def test_earlier_names_of_modules_give_the_same_objects() -> None:
    for earlier, present in MOVED.items():
        old, new = importlib.import_module(earlier), importlib.import_module(present)
        names = [name for name, value in vars(new).items() if name[:2] != "__" and not ismodule(value)]
        assert names
        assert all(getattr(old, name) is getattr(new, name) for name in names)
