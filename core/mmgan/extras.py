"""Packages that an extra of mmgan brings (``pip install 'mmgan[text]'``): what needs them asks here first."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from types import ModuleType

from mmgan.errors import UsageError, line


def has(package: str) -> bool:
    """Whether a package is installed. It is not imported.

    Args:
        package: Its name in ``import``.
    """
    spec = importlib.util.find_spec(package)
    # A folder of that name in the working directory, such as a run's tensorboard/, has no origin.
    return spec is not None and spec.origin is not None


def need(package: str, extra: str, what: str, instead: str = "") -> None:
    """Refuse to go on without a package.

    Args:
        package: Its name in ``import``.
        extra: The extra that brings it.
        what: What needs it; the beginning of the message.
        instead: What to do where it can't be installed, such as an option.

    Raises:
        UsageError: It is not installed; the hint names the extra.
    """
    if not has(package):
        raise UsageError(
            f"{what} needs the package {package}, which is not installed.",
            hint=f"pip install 'mmgan[{extra}]'{f', or {instead}' if instead else ''}",
        )


def built_for_torch(package: str, load: Callable[[], ModuleType]) -> ModuleType:
    """Import a package whose build must fit that of torch, as torchaudio's and torchvision's must.

    Args:
        package: Its name, for the message.
        load: Imports it.

    Raises:
        UsageError: It can't be imported with the torch that is installed.
    """
    try:
        return load()
    # A library that torch can't load is an OSError, an operator that is not there a RuntimeError.
    except (OSError, RuntimeError, ImportError) as error:
        raise UsageError(
            f"The {package} that is installed does not fit torch: {line(error)}.",
            hint=f"Install both from one index: pip install --force-reinstall torch {package} "
            "--index-url https://download.pytorch.org/whl/cpu (or …/cu130 and the like).",
        ) from error
