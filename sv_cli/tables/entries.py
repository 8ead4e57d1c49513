"""What scp lines point to: objects at offsets of files, whole files, commands; with ranges."""

import os
from collections import OrderedDict
from contextlib import ExitStack
from types import TracebackType
from typing import IO, Any

from sv_cli.errors import TableError
from sv_cli.tables.cursor import Cursor
from sv_cli.tables.objects import Array, read_object
from sv_cli.tables.ranges import cut_range, split_range
from sv_cli.tables.scp import check_archive_key
from sv_cli.tables.specifier import check_input, is_pipe, open_file, open_input
from sv_cli.tables.text import encode

_OPEN_FILES = 32


class EntryReader:
    """Reads the arrays that scp entries name, keeping the last few archives open.

    With `check_keys` the key in the archive must be that of the entry.

    It may be copied to other processes by fork or pickle: each opens the files for itself, since
    shared file positions would mix up the reads.
    """

    def __init__(self, *, check_keys: bool = False) -> None:
        self._check_keys = check_keys
        self._open: OrderedDict[str, tuple[IO[bytes], Cursor]] = OrderedDict()
        self._process = os.getpid()

    def __enter__(self) -> "EntryReader":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()

    def __getstate__(self) -> dict[str, Any]:
        return {"check_keys": self._check_keys}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._check_keys = state["check_keys"]
        self._open = OrderedDict()
        self._process = os.getpid()

    def close(self) -> None:
        """Close the files."""
        with ExitStack() as stack:
            for stream, _ in self._open.values():
                stack.callback(stream.close)
            self._open = OrderedDict()

    def read(self, key: str, rx: str) -> Array:
        """Return the array of an entry; it may be a read-only view of a block.

        Raises
        ------
        TableError
            When it cannot be read: names the key and the file.
        """
        what = f"`{key}`"
        name, cut = split_range(rx)
        if name == "-" or is_pipe(name):
            with open_input(name) as stream:
                array = read_object(Cursor(stream, name), what)
        else:
            path, colon, offset = name.rpartition(":")
            if not colon or not (offset.isascii() and offset.isdigit()):
                path, offset = name, "0"
            try:
                cursor = self._cursor(path)
            except TableError as error:
                raise TableError(f"{what}: {error.message}", hint=error.hint) from error
            start = int(offset)
            if self._check_keys and start:
                length = min(start, len(encode(key)) + 1)
                cursor.seek(start - length)
                check_archive_key(key, cursor.take(length, what), path)
            cursor.seek(start)
            if cursor.at_end():
                raise TableError(f"{what}: `{path}` ends before byte {offset}")
            array = read_object(cursor, what)
        return array if cut is None else cut_range(array, cut, what)

    def _cursor(self, path: str) -> Cursor:
        if self._process != os.getpid():
            self.close()
            self._process = os.getpid()
        found = self._open.get(path)
        if found is None:
            check_input(path, path)
            stream = open_file(path)
            found = self._open[path] = stream, Cursor(stream, path)
            if len(self._open) > _OPEN_FILES:
                self._open.popitem(last=False)[1][0].close()
        else:
            self._open.move_to_end(path)
        return found[1]
