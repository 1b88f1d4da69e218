"""Pack what a machine without network lacks to run mmgan from a checkout, as wheels in a folder.

    python scripts/pack_wheels.py --has scripts/cuda_image.txt
    python scripts/pack_wheels.py --has numpy,torch==2.11.0 --python 3.12 --into wheels

Beginning with what pyproject.toml asks for, each package that the machine does not have is downloaded as a
wheel for its Python on Linux (x86_64), and so are those that it needs in turn. What the machine has is taken
from ``--has``, and believed: nothing is looked for below it. Prints what was packed, and how large it is.

``make gpu`` installs from the folder.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from email.parser import HeaderParser
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]
#: Extras that are not packed: tools of development, and what only decodes more kinds of files.
LEFT_OUT = {"dev", "all", "audio"}
#: Tools of development that are: they run the tests.
TOOLS = {"pytest", "pytest-timeout", "pytest-xdist"}
#: What hatchling asks for while it installs a checkout as editable.
BUILD = ("editables",)
#: The platforms whose wheels run on Linux with glibc 2.28 or later.
PLATFORMS = (
    "manylinux_2_28_x86_64",
    "manylinux_2_27_x86_64",
    "manylinux_2_24_x86_64",
    "manylinux2014_x86_64",
)
OLDER = ("manylinux_2_17_x86_64", "manylinux2010_x86_64", "manylinux1_x86_64")


class PackingError(RuntimeError):
    """Something could not be packed; the message says what and why."""


def read_project() -> dict[str, Any]:
    """Read the pyproject.toml of this checkout."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def asked_for(project: dict[str, Any]) -> Iterator[Requirement]:
    """Yield what a pyproject.toml asks for: to run, for most extras, to test, and to be installed."""
    table = project["project"]
    yield from map(Requirement, table["dependencies"])
    for name, texts in table.get("optional-dependencies", {}).items():
        for requirement in map(Requirement, texts):
            if canonicalize_name(requirement.name) == table["name"]:
                continue  # other extras, which come by themselves
            if name not in LEFT_OUT or canonicalize_name(requirement.name) in TOOLS:
                yield requirement
    yield from map(Requirement, (*project["build-system"]["requires"], *BUILD))


def parse_has(texts: Iterable[str]) -> dict[str, Version | None]:
    """Read what a machine has: names, with ``==version`` where that is known, by canonical name.

    Args:
        texts: Each a file with a name on each line (``#`` begins a comment), or names with commas between.
    """
    found: dict[str, Version | None] = {}
    for text in texts:
        path = Path(text)
        lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else text.split(",")
        for line in lines:
            name, _, version = line.partition("#")[0].strip().partition("==")
            if name:
                found[canonicalize_name(name)] = Version(version) if version else None
    return found


def is_there(requirement: Requirement, has: dict[str, Version | None]) -> bool:
    """Whether a machine has what is required; a version that is not known is taken to do."""
    name = canonicalize_name(requirement.name)
    if name not in has:
        return False
    version = has[name]
    return version is None or requirement.specifier.contains(version, prereleases=True)


def applies(requirement: Requirement, python: str, extras: Iterable[str] = ()) -> bool:
    """Whether a requirement is one on Linux with this Python, for any of these extras."""
    if requirement.marker is None:
        return True
    machine = {
        "python_version": python,
        "python_full_version": f"{python}.0",
        "sys_platform": "linux",
        "platform_system": "Linux",
        "platform_machine": "x86_64",
        "os_name": "posix",
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
    }
    return any(requirement.marker.evaluate(machine | {"extra": extra}) for extra in (*extras, ""))


def needs(wheel: Path) -> list[Requirement]:
    """Return what a wheel says that it needs."""
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if name.count("/") == 1]
        (name,) = (name for name in names if name.endswith(".dist-info/METADATA"))
        metadata = HeaderParser().parsestr(archive.read(name).decode("utf-8"))
    return [Requirement(text) for text in metadata.get_all("Requires-Dist", [])]


def download(requirement: Requirement, python: str, folder: Path) -> Path:
    """Download the newest wheel of a package for Linux, and return its file.

    Raises:
        PackingError: There is none, or the index could not be asked.
    """
    asked = f"{requirement.name}{requirement.specifier}"
    platforms = [word for name in (*PLATFORMS, *OLDER) for word in ("--platform", name)]
    kind = ["--only-binary=:all:", "--no-deps", "--python-version", python, "--implementation", "cp"]
    with tempfile.TemporaryDirectory(dir=folder) as own:
        command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet", *kind]
        done = subprocess.run([*command, *platforms, "--dest", own, asked], capture_output=True, text=True)
        files = list(Path(own).iterdir())
        if done.returncode or len(files) != 1:
            raise PackingError(f"{asked} can't be packed: {done.stderr.strip() or 'pip gave no wheel'}")
        return files[0].rename(folder / files[0].name)


def pack(
    wanted: Iterable[Requirement], has: dict[str, Version | None], python: str, folder: Path
) -> dict[str, Path]:
    """Download all that is missing, and what that needs; return the wheels by the names of packages."""
    packed: dict[str, Path] = {}
    waiting = [requirement for requirement in wanted if applies(requirement, python)]
    while waiting:
        requirement = waiting.pop(0)
        name = canonicalize_name(requirement.name)
        if is_there(requirement, has):
            continue
        if name not in packed:
            packed[name] = download(requirement, python, folder)
            print(f"{size_of(packed[name]):8.1f} MiB  {packed[name].name}", flush=True)
            waiting += [one for one in needs(packed[name]) if applies(one, python, requirement.extras)]
        elif not requirement.specifier.contains(version_of(packed[name]), prereleases=True):
            raise PackingError(f"{packed[name].name} was packed, and {requirement} is needed too")
    return packed


def version_of(wheel: Path) -> Version:
    """Return the version in a wheel's name."""
    return Version(wheel.name.split("-")[1])


def size_of(wheel: Path) -> float:
    """Return a file's MiB."""
    return wheel.stat().st_size / 2**20


def main(arguments: Sequence[str] | None = None) -> None:
    """Pack the wheels."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--has",
        action="append",
        default=[],
        metavar="FILE|LIST",
        help="what the machine has: a file with a name (or name==version) on each line, or a,b,c; repeatable",
    )
    parser.add_argument("--python", default="3.12", help="the machine's Python (%(default)s)")
    parser.add_argument("--into", type=Path, default=ROOT / "wheels", metavar="DIR", help="default: wheels")
    parser.add_argument("--most", type=float, default=60, metavar="MIB", help="largest sum (%(default)s MiB)")
    options = parser.parse_args(arguments)
    options.into.mkdir(parents=True, exist_ok=True)
    for old in options.into.glob("*.whl"):
        old.unlink()
    try:
        packed = pack(asked_for(read_project()), parse_has(options.has), options.python, options.into)
    except PackingError as error:
        sys.exit(f"error: {error}")
    total = sum(map(size_of, packed.values()))
    print(f"{total:8.1f} MiB  {len(packed)} wheels for Python {options.python} in {options.into}")
    if total > options.most:
        sys.exit(f"error: these are more than {options.most:g} MiB; name more in --has")


if __name__ == "__main__":
    main()
