"""Text tables: a key and its fields on each line, split on ASCII blanks only.

Keys are UTF-8, and bytes that are not pass through unchanged. Lines may end in CRLF (said in a
warning, since Kaldi's own scripts refuse them in some tables); blank lines, duplicate keys and
wrong numbers of fields are errors that name `file:line`.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import IO, NamedTuple, NoReturn

import numpy as np

from sv_cli import logs
from sv_cli.errors import TableError
from sv_cli.tables.kaldi.specifier import open_input, open_output

_BLOCK = 1 << 22
_BOM = b"\xef\xbb\xbf"
_BLANK_BYTES = b" \t\n\r\v\f"
_IS_BLANK = np.zeros(256, dtype=bool)
_IS_BLANK[list(_BLANK_BYTES)] = True
# str.split takes these for blanks, too; Kaldi does not.
_SEPARATORS = b"\x1c\x1d\x1e\x1f"


class _Lines(NamedTuple):
    """Where a block of lines comes from, for messages."""

    source: str
    first: int
    what: str


def read_table(source: str, *, fields: int | None = None, what: str = "table") -> dict[str, str]:
    """Return key -> value of a table.

    Parameters
    ----------
    source : str
        A path, `-`, or `command |`.
    fields : int or None
        1: exactly one field after the key; None: the rest of the line, blanks within kept.
    what : str
        Name of the table in messages.

    Raises
    ------
    TableError
        Names `file:line` of a blank line, a duplicate key or a wrong number of fields.
    """
    table: dict[str, str] = {}
    done = 0
    for block, first_line in read_blocks(source, what):
        if fields is None:
            keys, values = _keys_and_rest(block, source, first_line, what)
        else:
            check_fields(block, source, first_line, {fields + 1}, what)
            tokens = split_tokens(block)
            keys, values = tokens[0 :: fields + 1], _joined(tokens, fields)
        table.update(zip(keys, values, strict=True))
        done += len(keys)
        if len(table) != done:
            _raise_duplicate(table, keys, _Lines(source, first_line, what))
    return table


def read_rows(
    source: str, *, min_fields: int, max_fields: int | None = None, what: str = "table"
) -> list[list[str]]:
    """Return the fields of every line, key first; `min_fields` and `max_fields` count the key.

    Keys may repeat: what identifies a row is for the caller to say.

    Raises
    ------
    TableError
        Names `file:line` of a blank line or a wrong number of fields.
    """
    most = min_fields if max_fields is None else max_fields
    rows: list[list[str]] = []
    for block, first_line in read_blocks(source, what):
        check_fields(block, source, first_line, set(range(min_fields, most + 1)), what)
        rows.extend(
            [decode(field) for field in line.split()] for line in block.split(b"\n") if line
        )
    return rows


def read_floats(source: str, *, what: str = "table") -> dict[str, float]:
    """Return key -> number (utt2dur, utt2num_frames); a blank at the end of a line is fine."""
    table = read_table(source, fields=1, what=what)
    numbers: dict[str, float] = {}
    for line, (key, value) in enumerate(table.items(), start=1):
        number = parse_number(value)
        if number is None:
            raise TableError(f"`{source}:{line}`: `{value}` is not a number")
        numbers[key] = number
    return numbers


def read_durations(source: str) -> dict[str, float]:
    """Return utterance -> duration in seconds (utt2dur).

    Raises
    ------
    TableError
        Names `file:line` of a duration that is negative, infinite, or no number.
    """
    durations = read_floats(source, what="utt2dur")
    for line, (utt, seconds) in enumerate(durations.items(), start=1):
        if not 0 <= seconds < float("inf"):
            raise TableError(
                f"`{source}:{line}`: `{utt}` has a duration of {seconds:g} s",
                hint="a duration is a finite number, 0 or more",
            )
    return durations


def read_spk2utt(source: str, *, what: str = "spk2utt") -> dict[str, list[str]]:
    """Return key -> list of one or more fields (spk2utt, enrolment models)."""
    return {key: value.split(" ") for key, value in _read_lists(source, what)}


def read_first_fields(source: str, *, what: str = "list") -> list[str]:
    """Return the first field of each line; the rest does not matter."""
    return [
        decode(line.split(None, 1)[0])
        for block, _ in read_blocks(source, what)
        for line in block.split(b"\n")
        if line.strip()
    ]


def write_table(
    target: str,
    rows: Mapping[str, str] | Mapping[str, Sequence[str]] | Iterable[Sequence[str]],
    *,
    sort: bool = True,
) -> None:
    """Write `key value` lines, sorted by the bytes of the key (LC_ALL=C) unless `sort` is off.

    Raises
    ------
    TableError
        When a key is empty, holds a blank, or repeats.
    """
    lines = _as_pairs(rows)
    if sort:
        lines = sort_pairs(lines)
    check_keys([key for key, _ in lines])
    text = "".join([f"{key} {value}\n" if value else f"{key}\n" for key, value in lines])
    with open_output(target) as stream:
        stream.write(encode(text))


def sort_key(text: str) -> bytes:
    """Return the bytes that order a key as `LC_ALL=C sort` does."""
    return encode(text)


def sort_keys(keys: Iterable[str]) -> list[str]:
    """Return keys in the order of `LC_ALL=C sort`."""
    keys = list(keys)
    # Only a byte that is not UTF-8 (kept as a lone surrogate) breaks the order of code points.
    if all(map(str.isascii, keys)):
        return sorted(keys)
    return sorted(keys, key=encode)


def sort_pairs(pairs: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return (key, value) pairs in the order of `LC_ALL=C sort`."""
    if all(key.isascii() for key, _ in pairs):
        return sorted(pairs)
    return sorted(pairs, key=lambda pair: (encode(pair[0]), encode(pair[1])))


def check_keys(keys: Sequence[str]) -> None:
    """Raise when a key is empty, holds an ASCII blank, or repeats."""
    if len(set(keys)) != len(keys):
        repeated = next(key for key, count in Counter(keys).items() if count > 1)
        raise TableError(f"key `{repeated}` would be written twice")
    for key in keys:
        if not key or not _BLANKS_IN_KEYS.isdisjoint(key):
            check_key(key)


def check_key(key: str) -> None:
    """Raise when a key is empty or holds an ASCII blank."""
    if not key:
        raise TableError("an empty key cannot be written")
    if not _BLANKS_IN_KEYS.isdisjoint(key) or "\0" in key:
        raise TableError(f"key {key!r} holds a blank and cannot be written")


def parse_number(text: str | bytes) -> float | None:
    """Return the number that a field says, or None: no `1_0`, no `0x10`, no `1.#INF`."""
    try:
        number = float(text)
    except ValueError:
        return None
    raw = text if isinstance(text, bytes) else text.encode("utf-8", "surrogateescape")
    return number if b"_" not in raw and raw.isascii() else None


def encode(text: str) -> bytes:
    """Return UTF-8, with the bytes back that `decode` could not read."""
    return text.encode("utf-8", "surrogateescape")


def decode(raw: bytes) -> str:
    """Return text of UTF-8; other bytes become lone surrogates that `encode` turns back."""
    return raw.decode("utf-8", "surrogateescape")


def read_blocks(source: str, what: str = "table") -> Iterator[tuple[bytes, int]]:
    """Yield (block of whole lines, number of its first line), a few MiB each.

    Raises
    ------
    TableError
        When the source starts with a byte order mark or is no text.
    """
    with open_input(source) as stream:
        line, crlf = 1, False
        for block in _whole_lines(stream, source, what):
            if line == 1 and block.startswith(_BOM):
                raise TableError(
                    f"`{source}:1`: {what} starts with a byte order mark",
                    hint="save it as UTF-8 without BOM: `sed -i '1s/^\\xEF\\xBB\\xBF//' FILE`",
                )
            _refuse_binary(block, source, what)
            if not crlf and b"\r\n" in block:
                crlf = True
                logs.warn(f"`{source}` has lines that end in CRLF; read as LF")
            yield block, line
            line += block.count(b"\n")


def split_tokens(block: bytes) -> list[str]:
    """Return all fields of a block of lines, decoded."""
    if block.isascii() and not any(byte in block for byte in _SEPARATORS):
        return block.decode("ascii").split()
    return [decode(token) for token in block.split()]


def split_fields(value: str) -> list[str]:
    """Return the fields of a text, split on ASCII blanks only, as Kaldi does."""
    return [decode(part) for part in encode(value).split()]


def check_fields(block: bytes, source: str, first_line: int, allowed: set[int], what: str) -> None:
    """Raise when a line of a block has a number of fields that is not in `allowed`."""
    counts = count_fields(block)
    wrong = ~np.isin(counts, list(allowed)) if len(allowed) > 1 else counts != min(allowed)
    if wrong.any():
        at = int(np.argmax(wrong))
        wanted = sorted(allowed)
        raise_fields(source, first_line + at, int(counts[at]), wanted, what)


def raise_fields(source: str, line: int, found: int, wanted: Sequence[int], what: str) -> NoReturn:
    """Raise about a line with a wrong number of fields."""
    if found == 0:
        raise TableError(f"`{source}:{line}`: blank line in {what}", hint="remove the line")
    expected = str(wanted[0]) if len(wanted) == 1 else f"{wanted[0]} to {wanted[-1]}"
    raise TableError(f"`{source}:{line}`: {found} fields in {what}, expected {expected}")


def count_fields(block: bytes) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
    """Return the number of fields of each line of a block of whole lines."""
    data = np.frombuffer(block, dtype=np.uint8)
    blank = _IS_BLANK[data]
    starts = ~blank
    starts[1:] &= blank[:-1]
    ends = np.flatnonzero(data == ord("\n"))
    before = np.searchsorted(np.flatnonzero(starts), ends)
    return np.diff(before, prepend=0)


def _whole_lines(stream: IO[bytes], source: str, what: str) -> Iterator[bytes]:
    rest = b""
    while block := stream.read(_BLOCK):
        block = rest + block if rest else block
        cut = block.rfind(b"\n") + 1
        if cut:
            yield block[:cut]
        rest = block[cut:]
    if rest:
        if what == "scores":  # half a number is a number
            logs.warn(f"the last line of `{source}` has no end: was the file cut off?")
        yield rest + b"\n"


def _refuse_binary(block: bytes, source: str, what: str) -> None:
    if block.startswith(b"\x1f\x8b"):
        raise TableError(
            f"`{source}`: {what} is compressed", hint=f"read it as `gunzip -c {source} |`"
        )
    if b"\0" in block:
        raise TableError(f"`{source}`: {what} is binary, not text")


def _keys_and_rest(
    block: bytes, source: str, first_line: int, what: str
) -> tuple[list[str], list[str]]:
    if block.isascii() and not any(byte in block for byte in _SEPARATORS):
        lines = block.decode("ascii").split("\n")
        lines.pop()
        pairs = [line.split(None, 1) for line in lines]
    else:
        raw = block.split(b"\n")
        raw.pop()
        pairs = [[decode(part) for part in line.split(None, 1)] for line in raw]
    try:
        return [key for key, _ in pairs], [value.rstrip(_BLANKS) for _, value in pairs]
    except ValueError:
        at = next(i for i, pair in enumerate(pairs) if len(pair) != 2)
    if not pairs[at]:
        raise_fields(source, first_line + at, 0, [2], what)
    raise TableError(f"`{source}:{first_line + at}`: key `{pairs[at][0]}` in {what} has no value")


def _joined(tokens: list[str], fields: int) -> list[str]:
    if fields == 1:
        return tokens[1::2]
    columns = [tokens[i :: fields + 1] for i in range(1, fields + 1)]
    return [" ".join(row) for row in zip(*columns, strict=True)]


def _read_lists(source: str, what: str) -> Iterator[tuple[str, str]]:
    for key, value in read_table(source, what=what).items():
        yield key, value if _is_single_spaced(value) else " ".join(split_fields(value))


def _is_single_spaced(value: str) -> bool:
    return "\t" not in value and "  " not in value


def _raise_duplicate(table: dict[str, str], keys: list[str], lines: _Lines) -> NoReturn:
    """Name both lines of the first key that repeats: a dict keeps the order of first lines."""
    first_lines = {key: line for line, key in enumerate(table, start=1)}
    for line, key in enumerate(keys, start=lines.first):
        if first_lines[key] != line:
            raise TableError(
                f"`{lines.source}:{line}`: key `{key}` of {lines.what} is in line "
                f"{first_lines[key]} already"
            )
    raise TableError(f"`{lines.source}`: a key of {lines.what} repeats")


def _as_pairs(
    rows: Mapping[str, str] | Mapping[str, Sequence[str]] | Iterable[Sequence[str]],
) -> list[tuple[str, str]]:
    if isinstance(rows, Mapping):
        return [
            (key, value if isinstance(value, str) else " ".join(value))
            for key, value in rows.items()
        ]
    return [(row[0], " ".join(row[1:])) for row in rows]


_BLANKS = _BLANK_BYTES.decode()
_BLANKS_IN_KEYS = frozenset(_BLANKS)
