"""How this process treats memory that it has freed."""

import ctypes
import sys

# From glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4
_LARGEST = 2**31 - 1
_TOP_PAD_BYTES = 256 * 1024 * 1024


def keep_freed_memory() -> bool:
    """Let malloc keep what is freed, for loops that allocate the same large arrays again.

    A step on the CPU allocates hundreds of megabytes; by default glibc gives them back to the
    system and page-faults them in again, which costs a third of the CPU time of training
    (`benchmarks/allocator.py`). Returns False where the C library is another one.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return False
    options = ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, _LARGEST), (_M_TOP_PAD, _TOP_PAD_BYTES))
    results = [mallopt(option, value) for option, value in options]
    return all(results)
