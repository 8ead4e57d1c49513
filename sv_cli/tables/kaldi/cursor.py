"""Bytes of a stream in growing blocks, with a position: archives are parsed in memory."""

import os
import re
import stat
from typing import IO

from sv_cli.errors import TableError

_FIRST_BLOCK = 1 << 12  # after a jump: an embedding, or the head of a matrix
_SMALL_BLOCK = 1 << 16
_LARGE_BLOCK = 1 << 22


class Cursor:
    """A position in a stream; `buffer[position:]` holds the bytes read ahead.

    Parameters
    ----------
    stream : binary stream
        A file, pipe or stdin.
    name : str
        What messages call it.
    """

    def __init__(self, stream: IO[bytes], name: str) -> None:
        self._stream = stream
        self.name = name
        self.buffer = b""
        self.position = 0
        self._size, self._base = _size_and_place(stream)
        self._block = _SMALL_BLOCK

    @property
    def offset(self) -> int:
        """Bytes of the stream before the position."""
        return self._base + self.position

    def seek(self, offset: int) -> None:
        """Go to a byte of a file; blocks start small again unless it was read ahead already."""
        ahead = offset - self._base
        if 0 <= ahead <= len(self.buffer):
            self.position = ahead
            return
        self._stream.seek(offset)
        self.buffer, self.position, self._base = b"", 0, offset
        self._block = _FIRST_BLOCK

    def have(self, count: int) -> bool:
        """Read ahead until `count` bytes lie at the position; False when the stream ends before.

        A size that a header claims is held against the size of the file before any memory is
        asked for, and a pipe is read in blocks, so a damaged size cannot exhaust the memory.
        """
        missing = count - (len(self.buffer) - self.position)
        if missing <= 0:
            return True
        if self._size is not None and self.offset + count > self._size:
            count = max(self._size - self.offset, 0)
            missing = count - (len(self.buffer) - self.position)
            self._read(missing)
            return False
        return self._read(missing)

    def take(self, count: int, what: str) -> bytes:
        """Return the next `count` bytes.

        Raises
        ------
        TableError
            When the stream ends before, or the count is negative.
        """
        if count < 0 or not self.have(count):
            left = len(self.buffer) - self.position
            raise TableError(
                f"`{self.name}`: {what} is cut off at byte {self.offset + max(left, 0)}"
                if count >= 0
                else f"`{self.name}`: {what} claims a negative size at byte {self.offset}"
            )
        start = self.position
        self.position = start + count
        return self.buffer[start : self.position]

    def find(self, pattern: "re.Pattern[bytes]") -> "re.Match[bytes] | None":
        """Return the first match from the position on, reading ahead as far as needed."""
        start = self.position
        while True:
            match = pattern.search(self.buffer, start)
            if match:
                return match
            held = len(self.buffer) - self.position
            if not self.have(held + self._block):
                return pattern.search(self.buffer, self.position)
            start = self.position

    def at_end(self) -> bool:
        """Return whether the stream is at its end."""
        return not self.have(1)

    def _read(self, missing: int) -> bool:
        parts = [self.buffer[self.position :]]
        self._base += self.position
        self.position = 0
        wanted = max(missing, self._block)
        while wanted > 0:
            part = self._stream.read(min(wanted, _LARGE_BLOCK))
            if not part:
                break
            parts.append(part)
            wanted -= len(part)
            missing -= len(part)
        self._block = min(self._block * 4, _LARGE_BLOCK)
        self.buffer = b"".join(parts)
        return missing <= 0


def _size_and_place(stream: IO[bytes]) -> tuple[int | None, int]:
    """Return the size of a regular file (None for pipes) and the position of the stream."""
    try:
        status = os.fstat(stream.fileno())
        if stat.S_ISREG(status.st_mode):
            return status.st_size, stream.tell()
    except (OSError, ValueError, AttributeError):
        pass
    return None, 0
