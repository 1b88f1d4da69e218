"""The documentation is true: its code runs, its commands parse, its links lead somewhere."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import os
import re
import shlex
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import click
import pytest
from releases import NEWEST_CLICK

import mmgan
from mmgan.cli import main, run
from mmgan.config import RESERVED_ENVIRONMENT, Config
from mmgan.plugins import Plugins

ROOT = Path(__file__).resolve().parents[2]


def load_generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_generate", ROOT / "docs/generate.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


generate = load_generator()
PAGES: list[Path] = generate.pages()
#: The same code as strangers have it, who wrote their plugins before.
EARLIER = sorted((ROOT / "tests/interface_1").glob("*.md"))


class Block(NamedTuple):
    """A fenced block: its language, its text, the line it begins at, and the file it says it is."""

    language: str
    text: str
    line: int
    file: str


def blocks(page: Path, *languages: str) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    found = []
    for match in re.finditer(r"^```(\w+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        file = re.match(r"# (\S+\.\w+)\n", match[2])
        line = text.count("\n", 0, match.start(2)) + 1
        found.append(Block(match[1], match[2], line, file[1] if file else ""))
    return [block for block in found if block.language in languages]


def of(pages: list[Path]) -> Any:
    names = [f"interface_1/{page.name}" if page in EARLIER else page.name for page in pages]
    return pytest.mark.parametrize("page", pages, ids=names)


@pytest.fixture
def _installed(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Write the files that a page shows into a folder, and make their plugins look installed."""
    for name in [name for name in os.environ if name.startswith("MMGAN_") and name != "MMGAN_CACHE_DIR"]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)
    for block in blocks(page, "python", "toml"):
        if block.file:
            path = tmp_path / block.file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text, encoding="utf-8")
        if block.file == "pyproject.toml":
            install(tomllib.loads(block.text)["project"], tmp_path)
    yield
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def install(project: dict[str, Any], site: Path) -> None:
    name, version = project["name"], project["version"]
    info = site / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    lines = [f"{key} = {value}" for key, value in project["entry-points"]["mmgan"].items()]
    (info / "entry_points.txt").write_text("\n".join(["[mmgan]", *lines]) + "\n")


# Python.


@pytest.mark.slow
@of([page for page in [*PAGES, *EARLIER] if blocks(page, "python")])
@pytest.mark.usefixtures("_installed")
def test_python_runs(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("page")
    monkeypatch.setitem(sys.modules, "page", module)
    for block in blocks(page, "python"):
        if block.file:
            importlib.import_module(
                block.file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
            )
        else:
            # Empty lines first, so that a traceback names the page's line.
            code = compile("\n" * (block.line - 1) + block.text, str(page), "exec")
            exec(code, vars(module))
    for value in vars(module).values():
        if isinstance(value, type) and "register_commands" in vars(value):
            group = click.Group("mmgan")
            value().register_commands(group)
            assert all(command.help for command in group.commands.values())
            assert group.commands


@pytest.mark.slow
@of(
    [
        page
        for page in [*PAGES, *EARLIER]
        if any(block.file == "pyproject.toml" for block in blocks(page, "toml"))
    ]
)
@pytest.mark.usefixtures("_installed")
def test_the_plugins_shown_are_found_and_train(
    page: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plugins = Plugins()
    assert not plugins.broken
    (toml,) = [block for block in blocks(page, "toml") if block.file == "pyproject.toml"]
    shown = set(tomllib.loads(toml.text)["project"]["entry-points"]["mmgan"])
    tasks = {name for name, entry in plugins.tasks.items() if entry.plugin in shown}
    assert tasks
    trained = set()
    for number, words in enumerate(commands(page)):
        if words[:2] == ["run", "--plugin"] and words[2] in tasks:
            out = tmp_path / f"run-{number}"
            small = ["--steps", "3", "--batch-size", "8", "--out", str(out), "--set", "tensorboard=false"]
            assert main([*words, *small]) == 0, capsys.readouterr().err
            assert list(out.glob("samples/step-000003.*"))
            assert main(["sample", str(out), "-n", "4"]) == 0
            assert main(["resume", str(out), "--steps", "4"]) == 0
            trained.add(words[2])
    assert trained == tasks


@of([page for page in PAGES if blocks(page, "python")])
def test_python_imports_public_names_only(page: Path) -> None:
    text = (ROOT / "docs/plugins.md").read_text(encoding="utf-8").partition("## Public names")[2]
    modules = set(re.findall(r"`(mmgan\.[a-z_.]+)`", text))
    for block in blocks(page, "python"):
        for node in ast.walk(ast.parse(block.text)):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "mmgan":
                assert node.module == "mmgan" or node.module in modules, node.module
                if node.module == "mmgan":
                    assert {name.name for name in node.names} <= set(mmgan.__all__)


def test_the_whole_plugin_is_short() -> None:
    (task,) = [
        block for block in blocks(ROOT / "docs/plugins.md", "python") if block.file.endswith("task.py")
    ]
    assert len(task.text.splitlines()) < 60


# Commands.


def commands(page: Path) -> list[list[str]]:
    """Return the arguments of every ``mmgan`` that a page shows, in blocks and in the text."""
    return [words[1:] for words in shown_commands(page) if words[0] == "mmgan"]


def shown_commands(page: Path) -> Iterator[list[str]]:
    for block in blocks(page, "console", "bash"):
        for line in block.text.replace("\\\n", " ").splitlines():
            yield from split(line.removeprefix("$ "))
    prose = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for code in re.findall(r"`((?:mmgan|make) [^`]+)`", prose):
        yield from split(code)


def split(line: str) -> Iterator[list[str]]:
    """Split a line of shell into commands, without redirections and settings of the environment."""
    words: list[str] = []
    for word in [*shlex.split(line, comments=True), "&&"]:
        if word in ("&&", "|", ";"):
            while words and re.fullmatch(r"[A-Z_]+=\S*", words[0]):
                check_environment(words.pop(0).partition("=")[0])
            if words:
                yield words[: words.index(">")] if ">" in words else words
            words = []
        else:
            words.append(word)


def check_environment(name: str) -> None:
    if name.startswith("MMGAN_"):
        key = name.removeprefix("MMGAN_").lower()
        assert name in RESERVED_ENVIRONMENT or key in Config.model_fields, name


@of([page for page in PAGES if list(shown_commands(page))])
@pytest.mark.usefixtures("_installed")
def test_commands_are_understood(page: Path) -> None:
    group, context = generate.command_line()
    plugins = Plugins()
    for words in commands(page):
        while words and words[0].startswith("-"):
            words = words[1:]
        if not words:
            continue
        name, command, rest = group.resolve_command(context, words)
        if not rest and name != "run":  # a mention
            continue
        parent = context
        if isinstance(command, click.Group) and not rest[0].startswith("-"):
            parent = click.Context(command, info_name=name, parent=context)
            name, command, rest = command.resolve_command(parent, rest)
        try:
            parsed = command.make_context(name, list(rest), parent=parent)
        except click.exceptions.Exit:  # --help
            continue
        assert not parsed.args, f"{words} has too many arguments"
        plugin = parsed.params.get("plugin")
        if not plugin or plugin == "NAME":
            continue
        assert plugin in plugins.tasks, f"no plugin {plugin!r} for {words}"
        if name == "run":
            flags = {key: value for key, value in parsed.params.items() if key in Config.model_fields}
            # An unknown setting or a value that is not allowed raises.
            run.settle(plugins, plugin, None, parsed.params["settings"], flags | {"plugin": None})


@of([page for page in PAGES if list(shown_commands(page))])
@pytest.mark.usefixtures("_installed")
def test_make_targets_exist(page: Path) -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    for words in shown_commands(page):
        if words[0] == "make":
            assert words[1] in targets, words


# Hooks, and what is generated.


def hooks() -> dict[str, str]:
    """Return the signature of every hook as it stands in ``hookspecs.py``, and its docstring."""
    tree = ast.parse((ROOT / "core/mmgan/hookspecs.py").read_text(encoding="utf-8"))
    found = {}
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.decorator_list:
            assert node.returns
            signature = f"{node.name}({ast.unparse(node.args)}) -> {ast.unparse(node.returns)}"
            found[signature] = (ast.get_docstring(node) or "").split()[0]
    return found


@pytest.mark.parametrize("signature", hooks(), ids=lambda signature: signature.partition("(")[0])
def test_every_hook_is_documented_with_its_signature(signature: str) -> None:
    lines = (ROOT / "docs/plugins.md").read_text(encoding="utf-8").replace("\\|", "|").splitlines()
    (line,) = [line for line in lines if line.startswith(f"| `{signature}` |")]
    assert line.split(" | ")[-1].startswith(hooks()[signature])


@pytest.mark.skipif(
    not NEWEST_CLICK,
    reason="the pages are as the newest releases write them",
)
def test_generated_pages_are_up_to_date(capsys: pytest.CaptureFixture[str]) -> None:
    assert generate.main(["--check"]) == 0, capsys.readouterr().err


def test_a_stale_page_is_named_and_mended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- generated: losses -->\nold\n<!-- end -->\nafter\n")
    monkeypatch.setattr(generate, "ROOT", tmp_path)
    monkeypatch.setattr(generate, "pages", lambda: [page])
    assert generate.main(["--check"]) == 1
    assert capsys.readouterr().err.startswith("page.md is out of date")
    assert "old" in page.read_text()
    assert generate.main([]) == 0
    text = page.read_text()
    assert text.startswith("before\n<!-- generated: losses -->\n\n|")
    assert text.endswith("|\n\n<!-- end -->\nafter\n")
    assert generate.main(["--check"]) == 0


def test_generated_parts_are_all_used() -> None:
    used = [
        name for page in PAGES for _, name in re.findall(r"(<!-- generated: (\S+) -->)", page.read_text())
    ]
    assert sorted(used) == sorted(generate.PARTS)


def test_every_public_name_is_documented() -> None:
    text = (ROOT / "docs/plugins.md").read_text(encoding="utf-8")
    assert [name for name in mmgan.__all__ if f"| `{name}` |" not in text] == []


# Links.


@of(PAGES)
def test_links_and_pictures_exist(page: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith("https://"):
            continue
        file, _, anchor = target.partition("#")
        path = (page.parent / file).resolve() if file else page
        assert path.exists(), f"{page.name} links to {target}"
        assert path.is_relative_to(ROOT), target
        if anchor:
            assert anchor in anchors(path), f"{page.name} links to {target}"


def anchors(page: Path) -> set[str]:
    """Return the names that GitHub gives a page's headings."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_page_is_linked_from_the_readme() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [page.name for page in PAGES[1:] if f"(docs/{page.name})" not in text] == []
