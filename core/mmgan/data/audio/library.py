"""torchaudio, imported past a check that its release 2.11 makes and that today's torch fails."""

from __future__ import annotations

import sys
from types import ModuleType

from mmgan.extras import built_for_torch


def torchaudio() -> ModuleType:
    """Import torchaudio, with ``functional`` and ``transforms``.

    Its release 2.11 does not let itself be imported if torch was built with another minor version of CUDA,
    as torch 2.15 is. Its next one will refuse other major versions only (pytorch/audio#4226), and mmgan uses
    nothing of it that is compiled. So while it is imported, torch says nothing of CUDA.

    Raises:
        UsageError: It does not fit the torch that is installed.
    """
    return built_for_torch("torchaudio", _imported)


def _imported() -> ModuleType:
    if "torchaudio" not in sys.modules:
        import torch

        cuda, torch.version.cuda = torch.version.cuda, None
        try:
            import torchaudio  # type: ignore[import-untyped]
        finally:
            torch.version.cuda = cuda
    import torchaudio.functional  # type: ignore[import-untyped]
    import torchaudio.transforms  # type: ignore[import-untyped]

    module: ModuleType = torchaudio
    return module
