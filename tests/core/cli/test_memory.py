"""Memory that a step frees is there for the next one."""

import platform
import subprocess
import sys

import pytest

FAULTS = """
import sys
from resource import RUSAGE_SELF, getrusage
import torch
from mmgan.cli.memory import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory()
torch.ones(5_000_000), torch.ones(20_000_000)
before = getrusage(RUSAGE_SELF).ru_minflt
for _ in range(10):
    torch.ones(20_000_000)
print(getrusage(RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told to keep memory")
def test_freed_memory_is_used_again():
    def faults(how: str) -> int:
        command = [sys.executable, "-c", FAULTS, how]
        return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    # The heap may have to grow some times more, since tensors begin at multiples of 64 bytes: once on most
    # machines, and up to six times of ten where the heap begins elsewhere.
    assert faults("keep") < 0.75 * faults("as it is")
