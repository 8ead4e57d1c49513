"""Labelled trials and scores whose files list the same pairs in the same order.

This is what a scorer writes, and then no id has to be looked up: the bytes of each line's key are
hashed in whole arrays and the hashes compared. Anything else (another order, a pair twice,
tabs, another format, a word that is no number) is left to `sv_cli.tables`, which joins by key and
names what is wrong.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from sv_cli.tables.pairs.repeats import Repeats

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Hashes = NDArray[np.uint64]
Indices = NDArray[np.int64]

_BLOCK_BYTES = 1 << 22
_MOST_LINES = 1 << 16
_MOST_KEY_BYTES = 512
_MOST_NUMBER_BYTES = 32
_FIELDS = 3


@dataclass(frozen=True)
class _Block:
    """Lines of three fields: the bytes, and start and end of each field, shape (num_lines, 3)."""

    content: NDArray[np.uint8]
    starts: Indices
    ends: Indices


class _NotPlainError(Exception):
    """The quick way does not apply; the general reader reports why."""


def read_aligned(trials: str, sources: Sequence[str]) -> tuple[Bools, Floats] | None:
    """Return labels (num_trials,) and scores (num_sources, num_trials) of files in one order.

    The files are read in parallel. None when an input is no plain file or a line is not as
    expected; nothing is raised.
    """
    if not all(Path(name).is_file() for name in (trials, *sources)):
        return None
    listed = _Lines(trials, _labels)
    scored = [_Lines(source, _numbers) for source in sources]
    repeats = Repeats()
    targets: list[Bools] = []
    columns: list[list[Floats]] = [[] for _ in sources]
    try:
        while True:
            key, target = listed.take(_MOST_LINES)
            if not len(key):
                break
            repeats.add(key.view(np.int64))
            targets.append(target)
            for lines, column in zip(scored, columns, strict=True):
                same_key, numbers = lines.take(len(key))
                _require(np.array_equal(same_key, key))
                column.append(numbers)
        _require(len(targets) > 0 and not any(len(lines.take(1)[0]) for lines in scored))
        _require(not repeats.find().count)  # a pair twice, or a collision of hashes
    except _NotPlainError:
        return None
    return np.concatenate(targets), np.stack([np.concatenate(column) for column in columns])


def _require(condition: bool) -> None:
    if not condition:
        raise _NotPlainError


class _Lines:
    """The hash of the key and the value of each line of a file, taken some at a time."""

    def __init__(self, source: str, read_values: Callable[[_Block], NDArray[Any]]) -> None:
        self._blocks = _blocks(source)
        self._read_values = read_values
        self._key: Hashes = np.empty(0, dtype=np.uint64)
        self._values: NDArray[Any] = np.empty(0, dtype=np.bool_)

    def take(self, most: int) -> tuple[Hashes, NDArray[Any]]:
        """Return the next `most` lines, fewer only at the end of the file."""
        keys, values = [self._key], [self._values]
        num_lines = len(self._key)
        while num_lines < most and (block := next(self._blocks, None)) is not None:
            keys.append(_hash_fields(block, 0, 1))
            values.append(self._read_values(block))
            num_lines += len(keys[-1])
        key, value = _concatenate(keys), _concatenate(values)
        self._key, self._values = key[most:], value[most:]
        return key[:most], value[:most]


def _concatenate(parts: list[NDArray[Any]]) -> NDArray[Any]:
    filled = [part for part in parts if len(part)]
    return np.concatenate(filled) if filled else parts[0]


def _blocks(source: str) -> Iterator[_Block]:
    """Yield the lines of a file, which are three words with single blanks."""
    with Path(source).open("rb") as stream:
        while content := stream.read(_BLOCK_BYTES):
            content += stream.readline()
            _require(content.endswith(b"\n"))
            yield _split(content)


def _split(content: bytes) -> _Block:
    letters = np.frombuffer(content, dtype=np.uint8)
    blanks = np.flatnonzero(letters <= ord(" "))
    _require(len(blanks) % _FIELDS == 0)
    ends = blanks.reshape(-1, _FIELDS)
    _require(bool((letters[ends] == np.frombuffer(b"  \n", dtype=np.uint8)).all()))
    starts = np.concatenate([[0], blanks[:-1] + 1]).reshape(-1, _FIELDS)
    _require(bool((starts < ends).all()))
    return _Block(letters, starts, ends)


def _windows(block: _Block, starts: Indices, lengths: Indices, most: int) -> NDArray[np.uint8]:
    """Return the fields, padded with zeros to a common multiple of 8 bytes: (num_lines, width)."""
    width = -(-int(lengths.max()) // 8) * 8
    _require(width <= most)
    padded = np.concatenate([block.content, np.zeros(width, dtype=np.uint8)])
    windows = sliding_window_view(padded, width)[starts]
    windows *= np.arange(width) < lengths[:, None]
    return windows


def _hash_fields(block: _Block, first: int, last: int) -> Hashes:
    """Return a hash of the bytes from one field to another; padding does not change it."""
    starts = block.starts[:, first]
    windows = _windows(block, starts, block.ends[:, last] - starts, _MOST_KEY_BYTES)
    result = np.zeros(len(windows), dtype=np.uint64)
    for word, factor in zip(windows.view(np.uint64).T, _factors(), strict=False):
        result += _mix(word * factor)  # a word of zeros adds nothing
    return _mix(result)


def _factors() -> Hashes:
    """Return odd numbers without pattern, one for each word of a key."""
    count = np.arange(1, _MOST_KEY_BYTES // 8 + 1, dtype=np.uint64)
    return _mix(count * np.uint64(0x9E3779B97F4A7C15)) | np.uint64(1)


def _mix(word: Hashes) -> Hashes:
    """Let every bit reach every other; 0 stays 0 (the finaliser of MurmurHash3)."""
    word = word ^ (word >> np.uint64(33))
    word *= np.uint64(0xFF51AFD7ED558CCD)
    word ^= word >> np.uint64(33)
    word *= np.uint64(0xC4CEB9FE1A85EC53)
    word ^= word >> np.uint64(33)
    return word


def _labels(block: _Block) -> Bools:
    starts, lengths = block.starts[:, 2], block.ends[:, 2] - block.starts[:, 2]
    windows = _windows(block, starts, lengths, 16)
    words = np.ascontiguousarray(windows).view(f"S{windows.shape[1]}")[:, 0]
    target = words == b"target"
    _require(bool((target | (words == b"nontarget")).all()))
    return np.asarray(target, dtype=np.bool_)


def _numbers(block: _Block) -> Floats:
    starts, lengths = block.starts[:, 2], block.ends[:, 2] - block.starts[:, 2]
    windows = _windows(block, starts, lengths, _MOST_NUMBER_BYTES)
    _require(not (windows == ord("_")).any())
    try:
        numbers = windows.view(f"S{windows.shape[1]}")[:, 0].astype(np.float64)
    except ValueError as error:
        raise _NotPlainError from error
    _require(bool(np.isfinite(numbers).all()))
    return numbers
