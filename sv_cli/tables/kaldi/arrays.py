"""Tables of arrays: archives and scp files, read as streams or by key, and written whole.

The only door to kaldiio, which compresses matrices here. Reading is our own: kaldiio ignores the
exit status of pipes, reads text numbers wrongly, and gives shorter vectors for cut archives.
"""

import io
from collections.abc import Generator, Iterator
from contextlib import ExitStack
from types import TracebackType
from typing import IO

import numpy as np
from numpy.typing import ArrayLike

from sv_cli import logs
from sv_cli.errors import TableError
from sv_cli.tables.kaldi.cursor import Cursor
from sv_cli.tables.kaldi.entries import EntryReader, cut_range, split_range
from sv_cli.tables.kaldi.objects import (
    Array,
    as_kaldi_array,
    iterate_records,
    pack_binary,
    pack_text,
    read_object,
)
from sv_cli.tables.kaldi.scp import read_scp
from sv_cli.tables.kaldi.specifier import (
    ReadSpec,
    open_input,
    open_output,
    parse_rspecifier,
    parse_wspecifier,
)
from sv_cli.tables.text import check_key, encode, read_table, sort_pairs

COMPRESSIONS = range(1, 8)
# What the methods of fixed steps can hold, and half a step: the rest would be cut silently.
_HELD = {4: (-32768.0, 32767.0, 0.5), 6: (0.0, 255.0, 0.5), 7: (0.0, 1.0, 0.5 / 255)}


class _DuplicateKey(TableError):
    """A repeated key of a table: an error even with the option `p`."""


class ArrayStream(Iterator[tuple[str, Array]]):
    """(key, array) after (key, array) of a table; `skipped` counts what `p` let pass.

    Parameters
    ----------
    spec : ReadSpec
        The table.
    copy : bool
        Whether arrays are aligned and writable copies; else they may be views of the block read.
    check_keys : bool
        Whether the archive must hold the key of each scp entry.
    """

    def __init__(self, spec: ReadSpec, *, copy: bool = True, check_keys: bool = False) -> None:
        self.spec = spec
        self._check_keys = check_keys
        self.skipped = 0
        self._copy = copy
        self._items = self._ark() if spec.kind == "ark" else self._scp()

    def __next__(self) -> tuple[str, Array]:
        return next(self._items)

    def close(self) -> None:
        """Stop reading: files are closed and commands ended."""
        self._items.close()

    def _ark(self) -> Generator[tuple[str, Array], None, None]:
        offsets: dict[str, int] = {}
        name = self.spec.rx
        try:
            with open_input(name) as stream:
                for key, offset, array in iterate_records(Cursor(stream, name)):
                    if offsets.setdefault(key, offset) != offset:
                        raise _DuplicateKey(
                            f"`{name}`: key `{key}` at byte {offset} is at byte "
                            f"{offsets[key]} already"
                        )
                    yield key, array.copy() if self._copy else array
        except _DuplicateKey:
            raise
        except TableError as error:
            self._skip(error, "; the rest of the archive is left out")

    def _scp(self) -> Generator[tuple[str, Array], None, None]:
        with EntryReader(check_keys=self._check_keys) as reader:
            for key, rx in read_scp(self.spec.rx).items():
                try:
                    array = reader.read(key, rx)
                except TableError as error:
                    self._skip(error, "; skipped")
                else:
                    yield key, array.copy() if self._copy else array

    def _skip(self, error: TableError, consequence: str) -> None:
        if not self.spec.permissive:
            raise error
        self.skipped += 1
        logs.warn(error.message + consequence)


def iterate_arrays(rspecifier: str, *, wanted: str = "feats.scp") -> ArrayStream:
    """Return the (key, array) pairs of a table as a stream, in the order of the table.

    Matrices and vectors are float32 or float64 as stored, compressed ones are expanded; text is
    float32; integers are int32, a single number is 0-dimensional.

    Raises
    ------
    TableError
        On damaged or cut data, a duplicate key (both places named), a failed command.
    """
    return ArrayStream(parse_rspecifier(rspecifier, wanted=wanted))


def iterate_views(
    rspecifier: str, *, wanted: str = "feats.scp", check_keys: bool = False
) -> ArrayStream:
    """Return the same without copying: arrays may be read-only and not aligned."""
    spec = parse_rspecifier(rspecifier, wanted=wanted)
    return ArrayStream(spec, copy=False, check_keys=check_keys)


def read_arrays(rspecifier: str, *, wanted: str = "feats.scp") -> dict[str, Array]:
    """Return a whole table by key."""
    return dict(iterate_arrays(rspecifier, wanted=wanted))


def read_scalars(rspecifier: str, *, wanted: str = "num_utts.ark") -> dict[str, float]:
    """Return a table of single numbers (num_utts, utt2num_frames), binary or text.

    Raises
    ------
    TableError
        When a value is not a single number.
    """
    numbers: dict[str, float] = {}
    for key, array in iterate_views(rspecifier, wanted=wanted):
        if array.ndim != 0:
            raise TableError(f"`{rspecifier}`: `{key}` is not a single number")
        numbers[key] = float(array)
    return numbers


class ArrayTable:
    """A table of arrays by key: an scp is read entry by entry, an archive is held in memory.

    It may be handed to worker processes.
    """

    def __init__(self, rspecifier: str, *, wanted: str = "feats.scp") -> None:
        spec = parse_rspecifier(rspecifier, wanted=wanted)
        self.source = rspecifier
        self._reader = EntryReader()
        self._entries: dict[str, str] = {}
        self._arrays: dict[str, Array] = {}
        if spec.kind == "scp":
            self._entries = read_scp(spec.rx)
        else:
            self._arrays = dict(ArrayStream(spec))

    def close(self) -> None:
        """Close the archives; they are opened again when needed."""
        self._reader.close()

    def keys(self) -> list[str]:
        """Return the keys in the order of the table."""
        return list(self._entries or self._arrays)

    def __len__(self) -> int:
        return len(self._entries or self._arrays)

    def __contains__(self, key: object) -> bool:
        return key in self._entries or key in self._arrays

    def __getitem__(self, key: str) -> Array:
        if key in self._arrays:
            return self._arrays[key]
        if key not in self._entries:
            raise TableError(f"`{self.source}` has no `{key}`")
        return self._reader.read(key, self._entries[key]).copy()


class ArrayWriter:
    """Writes a table of arrays: files appear whole when the block ends well, the scp last.

    Parameters
    ----------
    wspecifier : str
        `ark:`, `ark,t:`, `ark,scp:ARK,SCP`, a directory, a path, `-`, `ark:| command`; `scp:FILE`
        writes each array where the existing FILE says.
    wanted : str
        Name of the table when `wspecifier` is a directory.
    compression : int or None
        Kaldi's method 1 to 7 for matrices (lossy); None stores floats as they are.
    """

    def __init__(
        self, wspecifier: str, *, wanted: str = "feats", compression: int | None = None
    ) -> None:
        self.spec = parse_wspecifier(wspecifier, wanted=wanted)
        if compression is not None and compression not in COMPRESSIONS:
            raise TableError(f"compression method {compression} is unknown; there are 1 to 7")
        self._compression = compression
        self._keys: set[str] = set()
        self._index: list[tuple[str, str]] = []
        self._offset = 0
        self._stack = ExitStack()
        self._stream: IO[bytes] | None = None
        self._places: dict[str, str] = {}

    def __enter__(self) -> "ArrayWriter":
        if self.spec.ark is not None:
            self._stream = self._stack.enter_context(open_output(self.spec.ark))
        elif self.spec.scp is not None:
            self._places = read_table(self.spec.scp, what="scp")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.__exit__(kind, error, trace)
        if kind is None and self.spec.ark is not None and self.spec.scp is not None:
            lines = [f"{key} {place}\n" for key, place in sort_pairs(self._index)]
            with open_output(self.spec.scp) as stream:
                stream.write(encode("".join(lines)))

    def write(self, key: str, array: ArrayLike) -> None:
        """Add one matrix (rows, cols), vector (size,) or integer.

        Raises
        ------
        TableError
            When the key is empty, holds a blank or repeats, or the array has no Kaldi form.
        """
        check_key(key)
        if key in self._keys:
            raise TableError(f"key `{key}` would be written twice")
        self._keys.add(key)
        body = self._pack(array, f"`{key}`")
        if self._stream is None:
            self._write_apart(key, body)
            return
        head = encode(key) + b" "
        if self.spec.scp is not None:
            self._index.append((key, f"{self.spec.ark}:{self._offset + len(head)}"))
        self._stream.write(head + body)
        self._offset += len(head) + len(body)
        if self.spec.flush:
            self._stream.flush()

    def _pack(self, array: ArrayLike, what: str) -> bytes:
        values = as_kaldi_array(array, what)
        if self._compression is not None:
            if values.ndim != 2:
                raise TableError(f"{what} is no matrix; only matrices can be compressed")
            if values.size and not self.spec.text:
                return compress(values, self._compression, what=what)
        return pack_text(values) if self.spec.text else pack_binary(values)

    def _write_apart(self, key: str, body: bytes) -> None:
        place = self._places.get(key)
        if place is None:
            if self.spec.permissive:
                return
            raise TableError(f"`{self.spec.scp}` says no place for `{key}`")
        with open_output(place) as stream:
            stream.write(body)


def compress(matrix: Array, method: int, *, what: str = "the matrix") -> bytes:
    """Return a compressed matrix object (Kaldi's methods 1 to 7), with its binary mark.

    Messages call the matrix `what`.

    Raises
    ------
    TableError
        When the matrix holds NaN, infinity or values outside the range of the method.
    """
    from kaldiio.matio import write_array as write_compressed

    if not np.isfinite(matrix).all():
        raise TableError(f"{what} holds NaN or infinity and cannot be compressed")
    if method in _HELD and matrix.size:
        low, high, slack = _HELD[method]
        least, most = matrix.min(), matrix.max()
        if least < low - slack or most > high + slack:
            raise TableError(
                f"{what} has {least:g} to {most:g}; compression method {method} holds {low:g} to "
                f"{high:g}",
                hint="methods 2, 3 and 5 take their range from the matrix",
            )
    buffer = io.BytesIO()
    write_compressed(buffer, matrix.astype(np.float32), compression_method=method)
    return buffer.getvalue()


def read_array(rx: str) -> Array:
    """Return the one matrix or vector of a file without keys (mean.vec, lda.mat); text is float64.

    `rx` is a path, `file:offset`, `-` or `command |`, with a range where one is wanted.
    """
    name, cut = split_range(rx)
    with open_input(name) as stream:
        cursor = Cursor(stream, name)
        if cursor.at_end():
            raise TableError(f"`{name}` is empty")
        array = read_object(cursor, "the array", dtype=np.float64)
    return array.copy() if cut is None else cut_range(array, cut, f"`{name}`").copy()


def read_npy(path: str) -> Array:
    """Return the array of a `.npy` file; pickled objects are refused.

    Raises
    ------
    TableError
        When there is no such file, or it is no array of numbers.
    """
    try:
        array = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise TableError(f"cannot read `{path}` as a NumPy array: {error}") from error
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiu":
        raise TableError(f"`{path}` is not an array of numbers")
    return array


def write_array(path: str, array: ArrayLike, *, text: bool = False) -> None:
    """Write one matrix or vector to a file without keys, as Kaldi's mean.vec and lda.mat."""
    values = as_kaldi_array(array, f"`{path}`")
    with open_output(str(path)) as stream:
        stream.write(pack_text(values) if text else pack_binary(values))
