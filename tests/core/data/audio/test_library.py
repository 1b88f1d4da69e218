"""torchaudio is imported beside torch's builds for other versions of CUDA."""

import subprocess
import sys

import pytest

IMPORT = """
import torch
torch.version.cuda = "{cuda}"
from mmgan.data.audio.library import torchaudio
print(torchaudio().functional.resample(torch.ones(1, 32), 2, 1).shape[1], torch.version.cuda)
"""


@pytest.mark.process
@pytest.mark.slow
def test_torchaudio_is_imported_whatever_version_of_cuda_torch_was_built_with():
    for cuda in ("13.0", "13.9"):
        command = [sys.executable, "-c", IMPORT.format(cuda=cuda)]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.stdout.split() == ["16", cuda], done.stderr
