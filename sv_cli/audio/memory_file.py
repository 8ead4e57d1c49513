"""Files in memory that libsndfile reads and writes by itself.

Given a stream of Python, it calls back for every block, and what a signal raises inside a callback
(Ctrl-C, SIGTERM) is lost. Given a descriptor, it calls nothing, and signals wait until it returns.
"""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def memory_file(data: bytes = b"") -> Iterator[int]:
    """Give the descriptor of a nameless file that contains `data`, at its start.

    Where the system has no files in memory it is a temporary file.
    """
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("svtool")
    else:  # pragma: no cover - not Linux
        with tempfile.TemporaryFile() as stream:
            descriptor = os.dup(stream.fileno())
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]
        os.lseek(descriptor, 0, os.SEEK_SET)
        yield descriptor
    finally:
        os.close(descriptor)


def content(descriptor: int) -> bytes:
    """Return all bytes of a file in memory."""
    return os.pread(descriptor, os.fstat(descriptor).st_size, 0)
