"""The generated reference has every public name and method, and each of them has a docstring."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from releases import NEWEST_CLICK

import mmgan

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/reference.md").read_text(encoding="utf-8")
#: The page, by module and then by name.
SECTIONS = {
    part.partition("`")[0]: {name.partition("`")[0]: name for name in part.split("\n### `")[1:]}
    for part in PAGE.split("\n## `")[1:]
}
NAMES = {name: text for names in SECTIONS.values() for name, text in names.items()}
TABLE = (ROOT / "docs/plugins.md").read_text(encoding="utf-8").partition("## Public names")[2]


@pytest.fixture(scope="module")
def page_maker() -> Iterator[Any]:
    sys.path.insert(0, str(ROOT / "docs"))
    yield importlib.import_module("api_reference")
    sys.path.remove(str(ROOT / "docs"))


def classes() -> dict[str, type]:
    """Return the classes of the reference that mmgan defines, by name."""
    found = {}
    for module, names in SECTIONS.items():
        for name in names:
            value = getattr(importlib.import_module(module), name)
            if inspect.isclass(value) and value.__module__.startswith("mmgan"):
                found[name] = value
    return found


def test_every_name_of_mmgan_is_there() -> None:
    assert sorted(SECTIONS["mmgan"]) == sorted(mmgan.__all__)


def test_every_public_module_is_there() -> None:
    modules = set(re.findall(r"^\| .*$", TABLE, re.MULTILINE))
    named = {name for row in modules for name in re.findall(r"`(mmgan\.[\w.]+)`", row.split(" | ")[0])}
    assert len(named) > 20
    assert named - {"mmgan.cli"} <= set(SECTIONS)
    assert {"mmgan.cli.output", "mmgan.cli.folders"} <= set(SECTIONS)


def test_every_name_in_the_table_of_modules_is_there() -> None:
    for cell, text in re.findall(r"^\| (`mmgan\.[^|]*) \| (.*) \|$", TABLE, re.MULTILINE):
        modules = [importlib.import_module(name) for name in re.findall(r"`([\w.]+)`", cell)]
        for name in re.findall(r"`(\w+)[^`]*`", text):
            if any(inspect.isroutine(getattr(module, name, None)) for module in modules):
                assert name in NAMES, f"{name} of {cell}"


@pytest.mark.parametrize("name", NAMES)
def test_a_name_has_a_description(name: str) -> None:
    text = re.sub(r"```text\n.*?\n```", "", NAMES[name], flags=re.DOTALL).partition("\n#### ")[0]
    lines = [line for line in text.splitlines()[1:] if line and not line.startswith(("Extends ", "**", "-"))]
    assert lines
    assert lines[0][0].isupper()


@pytest.mark.parametrize("name", classes())
def test_every_public_method_is_there_and_has_a_docstring(name: str) -> None:
    documented = classes()
    value = documented[name]
    for key, member in inspect.getmembers(value):
        own = [base for base in value.__mro__ if key in vars(base)]
        if key.startswith(("_", "model_")) or not own or not own[0].__module__.startswith("mmgan"):
            continue
        plain = not inspect.isroutine(member) and not hasattr(member, "__get__")
        if plain or isinstance(member, type):
            continue
        assert inspect.getdoc(member), f"{name}.{key} has no docstring"
        # A method that is only inherited is described with the class that it comes from.
        shown = [base for base in value.__mro__ if base in documented.values() and own[0] in base.__mro__]
        text = "".join(NAMES[found] for found, known in documented.items() if known in shown)
        assert f".{key}`\n" in text or f"- `{key}`:" in text, f"{name}.{key}"


def test_a_docstring_becomes_markdown(page_maker: Any) -> None:
    text = """Return :class:`mmgan.Run` of ``x``
    and more.

    Args:
        x: One
            thing.
        y, z: Two.

    Returns:
        Words:

        - a
          b
        - c

    Raises:
        ValueError: Never.
    """
    assert page_maker.described(inspect.cleandoc(text)) == [
        "Return `Run` of `x` and more.",
        "**Arguments**",
        "- `x`: One thing.\n- `y`, `z`: Two.",
        "**Returns**",
        "- Words:\n\n  - a\n    b\n  - c",
        "**Raises**",
        "- `ValueError`: Never.",
    ]


def test_signatures_are_as_in_the_source(page_maker: Any) -> None:
    def short(self: Any, a: int, /, b: list[str] | None = None, *c: float, d: Any = len) -> str:
        return ""

    assert page_maker.signature("short", short).splitlines()[1] == (
        "short(a: int, /, b: list[str] | None = None, *c: float, d: Any = …) -> str"
    )

    def named(x: Path, *, y: int = 0) -> None: ...

    assert page_maker.signature("named", named).splitlines()[1] == "named(x: Path, *, y: int = 0) -> None"


@pytest.mark.skipif(
    not NEWEST_CLICK,
    reason="the page is as the newest releases write it",
)
def test_the_page_follows_the_code(page_maker: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert page_maker.reference() in PAGE
    monkeypatch.setattr(mmgan.Draw.uniform, "__doc__", "Something else.")
    assert page_maker.reference() not in PAGE


def test_a_section_of_arguments_names_all_of_them() -> None:
    """Of every function and class of core with an ``Args`` section, public or not."""
    for path in sorted((ROOT / "core").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.FunctionDef | ast.ClassDef):
                continue
            inits = [n for n in ast.walk(node) if isinstance(n, ast.FunctionDef) and n.name == "__init__"]
            function = node if isinstance(node, ast.FunctionDef) else next(iter(inits), None)
            section = re.split(r"\n(?=\S)", (ast.get_docstring(node) or "").partition("\nArgs:\n")[2])[0]
            if not section or function is None:
                continue
            arguments = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
            for name in [
                argument.arg for argument in arguments if argument.arg not in ("self", "cls", "run")
            ]:
                assert re.search(rf"\b{name}\b", section), f"{path}: {node.name} says nothing of {name}"
