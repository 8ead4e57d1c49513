"""How this process treats memory that it has freed, and garbage."""

import gc
import sys

# From glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4
_LARGEST = 2**31 - 1
_TOP_PAD_BYTES = 256 * 1024 * 1024
_OBJECTS_BETWEEN_COLLECTIONS = 200_000


def keep_freed_memory() -> bool:
    """Let malloc keep what is freed, for loops that allocate the same large arrays again.

    A step on the CPU allocates hundreds of megabytes; by default glibc gives them back to the
    system and page-faults them in again, which costs a third of the CPU time of training
    (`benchmarks/allocator.py`). Returns False where the C library is another one.
    """
    import ctypes  # not at the top: every command imports this module

    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return False
    options = ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, _LARGEST), (_M_TOP_PAD, _TOP_PAD_BYTES))
    results = [mallopt(option, value) for option, value in options]
    return all(results)


def collect_cycles_rarely() -> None:
    """Let the collector of cycles run after many more new objects than by default (700).

    Tables are millions of small objects without cycles: looking at them took half the time of
    `svtool data validate` on a million utterances.
    """
    gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS)
