"""glibc keeps big blocks: a block that was freed is not mapped, zeroed and unmapped again."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

CODE = """
import ctypes, sys
from posezoo.base.memory import raise_malloc_thresholds

libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.malloc.argtypes, libc.free.argtypes = [ctypes.c_size_t], [ctypes.c_void_p]


def mapped():
    # `hblks` of mallinfo2: how many blocks have a mapping of their own
    class Info(ctypes.Structure):
        _fields_ = [(f"f{n}", ctypes.c_size_t) for n in range(10)]

    libc.mallinfo2.restype = Info
    return libc.mallinfo2().f3


def own_mapping():
    before = mapped()
    block = libc.malloc(64 << 20)
    after = mapped()
    libc.free(block)
    return after - before


first = own_mapping()
raise_malloc_thresholds()
print(first, own_mapping())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="mallopt is glibc's")
def test_big_blocks_are_no_longer_mapped() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1", "0"]
