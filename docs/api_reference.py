"""The reference of what ``docs/plugins.md`` says is public, from signatures and docstrings.

``generate.py`` puts it into ``reference.md``. Names, signatures and docstrings come from ``inspect``; the
comments ``#:`` above attributes and constants are read from the source.
"""

from __future__ import annotations

import ast
import functools
import importlib
import importlib.util
import inspect
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

PLUGINS_PAGE = Path(__file__).resolve().parent / "plugins.md"
SECTION = re.compile(r"^(Args|Attributes|Returns|Yields|Raises):$", re.MULTILINE)
TITLES = {"Args": "Arguments"}
WIDTH = 100
PROPERTIES = (property, functools.cached_property)


class Public(NamedTuple):
    """A public name: the module that it is imported from, the name, and what it is the name of."""

    module: str
    name: str
    value: Any


# What is public.


def public() -> list[Public]:
    """Return every public name once, in the order of the modules in ``docs/plugins.md``."""
    found: list[Public] = []
    for module, names in (("mmgan", importlib.import_module("mmgan").__all__), *modules()):
        for name in names:
            value = getattr(importlib.import_module(module), name)
            if not any(value is known.value and name == known.name for known in found):
                found.append(Public(module, name, value))
    return found


def modules() -> Iterator[tuple[str, list[str]]]:
    """Yield the modules in the table of public modules, each with its public names.

    A package's are those of its ``__all__``, a file's those that its row names, or all where it names none. A
    row may also name the files of a package.
    """
    table = PLUGINS_PAGE.read_text(encoding="utf-8").partition("\nThese modules are for plugins too:\n")[2]
    for cell, text in re.findall(r"^\| (`mmgan\.[^|]*) \| (.*) \|$", table, re.MULTILINE):
        said = re.findall(r"`(\w+)[^`]*`", text)
        for name in re.findall(r"`([\w.]+)`", cell):
            module = importlib.import_module(name)
            if not hasattr(module, "__path__"):
                named = [word for word in said if callable(getattr(module, word, None))]
                constants = [word for word in said if hasattr(module, word) and word not in named]
                yield name, [*named, *constants] if named else own_names(module)
                continue
            yield name, list(getattr(module, "__all__", ()))
            for word in said:
                if importlib.util.find_spec(f"{name}.{word}"):
                    yield f"{name}.{word}", own_names(importlib.import_module(f"{name}.{word}"))


def own_names(module: Any) -> list[str]:
    """Return the classes, functions and documented constants that a file defines, in its order."""
    documented = comments(inspect.getsource(module))
    return [
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and (name in documented or (callable(value) and value.__module__ == module.__name__))
    ]


def members(value: type, documented: set[type]) -> dict[str, Any]:
    """Return the public methods and properties of a class, with those of its private bases."""
    found: dict[str, Any] = {}
    for base in value.__mro__:
        if base is not value and (base in documented or not base.__module__.startswith("mmgan")):
            continue
        for name, member in vars(base).items():
            is_public = not name.startswith(("_", "model_")) or name == "__call__"
            if is_public and (inspect.isroutine(member) or isinstance(member, (*PROPERTIES, classmethod))):
                found.setdefault(name, member)
    return found


# The page.


def reference() -> str:
    """Return the reference in Markdown: the modules, then every name of each."""
    names = public()
    documented = {entry.value for entry in names if inspect.isclass(entry.value)}
    found = list(dict.fromkeys(entry.module for entry in names))
    lines = [f"- [`{module}`](#{re.sub(r'[^a-z0-9_]', '', module)})" for module in found]
    parts = ["\n".join(lines)]
    for module in found:
        about = (inspect.getdoc(importlib.import_module(module)) or "").split("\n\n")[0]
        parts += [f"## `{module}`", inline(about)]
        for entry in names:
            if entry.module == module:
                parts += entry_of(entry, documented)
    return "\n\n".join(parts)


def entry_of(entry: Public, documented: set[type]) -> list[str]:
    """Return a name's heading, signature and description, and those of a class's methods."""
    heading = f"### `{entry.name}`"
    if inspect.isclass(entry.value) and entry.value.__module__.startswith("mmgan"):
        return [heading, *class_of(entry.name, entry.value, documented)]
    if inspect.isfunction(entry.value):
        about = inspect.getdoc(entry.value) or comment_of(entry.module, entry.name)
        return [heading, signature(entry.name, entry.value), *described(about)]
    text = comment_of(entry.module, entry.name)
    plain = isinstance(entry.value, str | int | float | tuple) and len(repr(entry.value)) < WIDTH
    return [heading, *([block(f"{entry.name} = {entry.value!r}")] if plain else []), *described(text)]


def class_of(name: str, value: type, documented: set[type]) -> list[str]:
    """Return the description of a class: how it is made, its settings and attributes, its methods."""
    bases = [base.__name__ for base in value.__mro__[1:] if base in documented]
    fields = {} if not hasattr(value, "model_fields") else own_fields(value)
    if hasattr(value, "model_fields"):
        constructor = ""
    elif getattr(value, "_is_protocol", False):
        constructor = block(f"class {name}(Protocol)")
    else:
        constructor = signature(name, value, "class ")
    parts = [constructor, f"Extends {', '.join(f'`{base}`' for base in bases)}." if bases else ""]
    parts += described(inspect.getdoc(value) if vars(value).get("__doc__") else "")
    if fields:
        parts += ["**Settings**", "\n".join(f"- {setting(key, field)}" for key, field in fields.items())]
    methods = members(value, documented)
    attributes = comments(inspect.getsource(value))
    for key, member in methods.items():
        if isinstance(member, PROPERTIES):
            getter: Any = member.fget if isinstance(member, property) else member.func
            returned = inspect.signature(getter).return_annotation
            first, *sections = described(doc_of(value, key)) or [""]
            attributes[key] = "\n\n".join([f"{first} `{annotation(returned)}`", *sections])
    items = [listed(f"`{key}`: {inline(text)}") for key, text in attributes.items() if key[0] != "_"]
    if items:
        parts += ["" if "**Attributes**" in parts else "**Attributes**", "\n".join(items)]
    for key, member in methods.items():
        if not isinstance(member, PROPERTIES):
            parts += [f"#### `{name}.{key}`", signature(key, member), *described(doc_of(value, key))]
    return [part for part in parts if part]


def doc_of(value: type, name: str) -> str:
    """Return a member's docstring, or that of the method which it overrides."""
    return inspect.getdoc(getattr(value, name)) or ""


def own_fields(config: Any) -> dict[str, Any]:
    """Return the settings that a config declares or changes, not those that it only inherits."""
    own = [base.__annotations__ for base in config.__mro__ if base is config]
    return {name: field for name, field in config.model_fields.items() if any(name in names for names in own)}


def setting(name: str, field: Any) -> str:
    """Return a setting's name, type, default and description."""
    default = "" if field.is_required() else f" = {field.get_default(call_default_factory=True)!r}"
    return f"`{name}: {annotation(field.annotation)}{default}`: {inline(str(field.description))}"


# Signatures.


def signature(name: str, value: Any, before: str = "") -> str:
    """Return a signature in a block; one that is long has an argument a line."""
    function = getattr(value, "__func__", value)
    found = inspect.signature(function)
    parameters = [p for p in found.parameters.values() if p.name not in ("self", "cls")]
    words = []
    for number, parameter in enumerate(parameters):
        named_only = parameter.kind is parameter.KEYWORD_ONLY
        if named_only and (not number or parameters[number - 1].kind < parameter.VAR_POSITIONAL):
            words.append("*")
        words.append(argument(parameter))
        following = parameters[number + 1].kind if number + 1 < len(parameters) else None
        if parameter.kind is parameter.POSITIONAL_ONLY and following is not parameter.POSITIONAL_ONLY:
            words.append("/")
    returned = "" if inspect.isclass(value) else f" -> {annotation(found.return_annotation)}"
    line = f"{before}{name}({', '.join(words)}){returned}"
    if len(line) > WIDTH:
        line = f"{before}{name}(\n" + "".join(f"    {word},\n" for word in words) + f"){returned}"
    return block(line)


def argument(parameter: inspect.Parameter) -> str:
    """Return an argument as it stands in a signature."""
    star = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}.get(parameter.kind, "")
    text = star + parameter.name
    if parameter.annotation is not parameter.empty:
        text += f": {annotation(parameter.annotation)}"
    if parameter.default is not parameter.empty:
        default = parameter.default
        # A default that is made anew, or that has no name, is told by the docstring.
        text += " = …" if inspect.isroutine(default) or repr(default) == "<factory>" else f" = {default!r}"
    return text


def annotation(value: Any) -> str:
    """Return an annotation as it stands in the source, without the modules that names come from."""
    text = value if isinstance(value, str) else inspect.formatannotation(value)
    return re.sub(
        r"\b(?:typing|collections\.abc|pathlib|mmgan(?:\.\w+)*)\.(?=\w)", "", text.replace("ForwardRef", "")
    )


def block(text: str) -> str:
    """Return a block of code. It is not marked as Python, which the tests would run and ruff would format."""
    return f"```text\n{text}\n```"


# Docstrings.


def described(text: str | None) -> list[str]:
    """Turn a docstring into Markdown: paragraphs, and its sections as lists."""
    first, *sections = SECTION.split(text or "")
    parts = prose(first)
    for title, body in zip(sections[::2], sections[1::2], strict=True):
        inner, outer = section(body)
        parts += [f"**{TITLES.get(title, title)}**", *inner, *outer]
    return parts


def section(body: str) -> tuple[list[str], list[str]]:
    """Return a section's list, and the paragraphs after it that are not indented."""
    match = re.match(r"(?:\n(?:    .*)?)*", body)
    assert match
    inner = textwrap.dedent(match[0]).strip()
    # An item goes on in lines that are indented further.
    items = re.split(r"\n+(?! )", inner)
    if all(re.match(r"[\w*`., ]+?:\s", item) for item in items):
        lines = []
        for item in items:
            names, _, meaning = item.partition(":")
            shown = ", ".join(f"`{name.strip()}`" for name in names.split(","))
            lines.append(f"- {shown}: {inline(' '.join(meaning.split()))}")
        inner_parts = ["\n".join(lines)]
    else:
        inner_parts = [listed("\n\n".join(prose(inner)))]
    return inner_parts, prose(body[match.end() :])


def listed(text: str) -> str:
    """Return Markdown as an item of a list."""
    return "- " + textwrap.indent(text, "  ").lstrip()


def prose(text: str) -> list[str]:
    """Return paragraphs; what is indented is code, and lists and tables keep their lines."""
    parts = []
    for paragraph in re.split(r"\n\s*\n", text.strip("\n")):
        if paragraph.startswith("    "):
            parts.append(block(textwrap.dedent(paragraph)))
        elif re.match(r"[|*-]", paragraph):
            parts.append(inline(paragraph))
        elif paragraph.strip():
            parts.append(inline(" ".join(paragraph.split())))
    return parts


def comments(source: str) -> dict[str, str]:
    """Return what the comments ``#:`` in a source say about the names below them."""
    found: dict[str, str] = {}
    pattern = r"((?:^[ \t]*#:.*\n)+)[ \t]*(?:self\.)?(\w+)(?:, (?:self\.)?\w+)*\s*[:=]"
    for text, name in re.findall(pattern, source, re.MULTILINE):
        found.setdefault(
            name, " ".join(line.strip().removeprefix("#:").strip() for line in text.splitlines())
        )
    return found


def comment_of(module: str, name: str) -> str:
    """Return the comment ``#:`` on a constant, from the file that defines it."""
    source = inspect.getsource(importlib.import_module(module))
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and name in [alias.name for alias in node.names]:
            return comment_of(str(node.module), name)
    return comments(source).get(name, "")


def inline(text: str) -> str:
    """Turn reStructuredText's roles and literals into Markdown's."""
    text = re.sub(r":\w+:`~?(?:mmgan\.)?([^`]*)`", r"`\1`", text)
    return text.replace("``", "`")
