"""Labelled trials and scores whose files list the same pairs in the same order.

This is what a scorer writes, and then no id has to be looked up: the bytes of each line's key are
hashed in whole arrays and the hashes compared. Whatever is not plain (another order, a pair twice,
tabs, another format, a word that is no number) is left to `sv_cli.tables`, which joins by key and
names what is wrong.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Hashes = NDArray[np.uint64]
Indices = NDArray[np.int64]

_BLOCK_BYTES = 1 << 22
_MOST_KEY_BYTES = 512
_MOST_NUMBER_BYTES = 32
_FIELDS = 3


@dataclass(frozen=True)
class _Block:
    """Lines of three fields: the bytes, and start and end of each field, shape (num_lines, 3)."""

    content: NDArray[np.uint8]
    starts: Indices
    ends: Indices


def read_aligned(trials: str, sources: Sequence[str]) -> tuple[Bools, Floats] | None:
    """Return labels (num_trials,) and scores (num_sources, num_trials) of files in one order.

    None when an input is no plain file or a line is not as it is expected; nothing is raised.
    """
    if not all(Path(name).is_file() for name in (trials, *sources)):
        return None
    listed = _read_trials(trials)
    if listed is None:
        return None
    keys, target = listed
    scores = np.empty((len(sources), len(keys)))
    for row, source in zip(scores, sources, strict=True):
        if not _read_scores(source, keys, row):
            return None
    return target, scores


def _read_trials(source: str) -> tuple[Hashes, Bools] | None:
    keys: list[Hashes] = []
    targets: list[Bools] = []
    for block in _blocks(source):
        key = _hash_fields(block, 0, 1) if block else None
        target = _labels(block) if block else None
        if key is None or target is None:
            return None
        keys.append(key)
        targets.append(target)
    if not keys:
        return None
    key = np.concatenate(keys)
    in_order = np.sort(key)
    if (in_order[1:] == in_order[:-1]).any():  # a pair twice, or a collision of hashes
        return None
    return key, np.concatenate(targets)


def _read_scores(source: str, keys: Hashes, scores: Floats) -> bool:
    """Fill `scores`, and tell whether the file lists the pairs of `keys` in their order."""
    done = 0
    for block in _blocks(source):
        key = _hash_fields(block, 0, 1) if block else None
        numbers = _numbers(block) if block else None
        if key is None or numbers is None:
            return False
        here = slice(done, done + len(key))
        if not np.array_equal(keys[here], key):
            return False
        scores[here] = numbers
        done += len(key)
    return done == len(keys)


def _blocks(source: str) -> Iterator[_Block | None]:
    """Yield the lines of a file; None for lines that are not three words with single blanks."""
    with Path(source).open("rb") as stream:
        while content := stream.read(_BLOCK_BYTES):
            content += stream.readline()
            yield _split(content if content.endswith(b"\n") else content + b"\n")


def _split(content: bytes) -> _Block | None:
    letters = np.frombuffer(content, dtype=np.uint8)
    blanks = np.flatnonzero(letters <= ord(" "))
    if len(blanks) % _FIELDS:
        return None
    ends = blanks.reshape(-1, _FIELDS)
    if not (letters[ends] == np.frombuffer(b"  \n", dtype=np.uint8)).all():
        return None
    starts = np.concatenate([[0], blanks[:-1] + 1]).reshape(-1, _FIELDS)
    return _Block(letters, starts, ends) if (starts < ends).all() else None


def _windows(
    block: _Block, starts: Indices, lengths: Indices, most: int
) -> NDArray[np.uint8] | None:
    """Return the fields, padded with zeros to a common multiple of 8 bytes: (num_lines, width)."""
    width = -(-int(lengths.max()) // 8) * 8
    if width > most:
        return None
    padded = np.concatenate([block.content, np.zeros(width, dtype=np.uint8)])
    windows = sliding_window_view(padded, width)[starts]
    windows *= np.arange(width) < lengths[:, None]
    return windows


def _hash_fields(block: _Block, first: int, last: int) -> Hashes | None:
    """Return a hash of the bytes from one field to another; padding does not change it."""
    starts = block.starts[:, first]
    windows = _windows(block, starts, block.ends[:, last] - starts, _MOST_KEY_BYTES)
    if windows is None:
        return None
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


def _labels(block: _Block) -> Bools | None:
    starts, lengths = block.starts[:, 2], block.ends[:, 2] - block.starts[:, 2]
    windows = _windows(block, starts, lengths, 16)
    if windows is None or windows.shape[1] < 8:
        return None
    words = np.ascontiguousarray(windows).view(f"S{windows.shape[1]}")[:, 0]
    target = words == b"target"
    return target if (target | (words == b"nontarget")).all() else None


def _numbers(block: _Block) -> Floats | None:
    starts, lengths = block.starts[:, 2], block.ends[:, 2] - block.starts[:, 2]
    windows = _windows(block, starts, lengths, _MOST_NUMBER_BYTES)
    if windows is None or (windows == ord("_")).any():
        return None
    try:
        numbers = windows.view(f"S{windows.shape[1]}")[:, 0].astype(np.float64)
    except ValueError:
        return None
    return numbers if np.isfinite(numbers).all() else None
