"""Make a virtual environment without network: what this Python has, the wheels of a folder, and the checkout.

    python scripts/offline_venv.py .venv-gpu --wheels wheels

``venv --system-site-packages`` would not do where this Python is itself that of a virtual environment, as on
many images: the new one would then have the packages of the system's Python, and not torch.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]


def make(folder: Path, wheels: Path) -> None:
    """Make the environment in a folder, which is replaced.

    Raises:
        subprocess.CalledProcessError: pip could not install something; it has said why.
    """
    venv.EnvBuilder(clear=True, symlinks=True).create(folder)
    python = str(folder.absolute() / "bin/python")
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    own = Path(
        subprocess.run([python, "-c", code], check=True, capture_output=True, text=True).stdout.strip()
    )
    # In their order and behind its own, so that what is installed here wins. pip is one of them.
    paths = [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
    lines = [f"import site; site.addsitedir({path!r})" for path in paths]
    (own / "parent.pth").write_text("\n".join(lines) + "\n", encoding="utf-8")
    pip = [
        python,
        "-m",
        "pip",
        "--disable-pip-version-check",
        "install",
        "--quiet",
        "--no-index",
        "--no-deps",
    ]
    if found := sorted(map(str, wheels.glob("*.whl"))):
        subprocess.run([*pip, "--ignore-installed", *found], check=True)
    subprocess.run([*pip, "--no-build-isolation", "--editable", str(ROOT)], check=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Make the environment."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, metavar="DIR", help="where; what is there is replaced")
    parser.add_argument("--wheels", type=Path, default=ROOT / "wheels", metavar="DIR", help="default: wheels")
    options = parser.parse_args(arguments)
    try:
        make(options.folder, options.wheels)
    except subprocess.CalledProcessError as error:
        sys.exit(f"error: {' '.join(map(str, error.cmd[:4]))} … ended with exit code {error.returncode}")


if __name__ == "__main__":
    main()
