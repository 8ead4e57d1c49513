"""Trials as rows of embeddings already read, a bounded number at a time.

A list of 10^8 trials does not fit into a laptop; its embeddings do. What stands in the list is
looked up block by block, so the memory does not grow with it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import repeat

import numpy as np
from numpy.typing import NDArray

from sv_cli import logs
from sv_cli.tables.pairs import Block, Ids, pair_codes, raise_repeated_pairs, read_column_blocks
from sv_cli.tables.text import decode, encode
from sv_cli.tables.trials import _Format, _labels, _recognise

CHUNK_TRIALS = 1 << 22


@dataclass(frozen=True)
class TrialRows:
    """Some trials of a list, in its order.

    Attributes
    ----------
    enroll, test : (num_trials,) int32
        Row of each side's embedding, -1 where there is none.
    missing_enroll, missing_test : list of str
        Distinct keys without a row.
    """

    enroll: Ids
    test: Ids
    missing_enroll: list[str]
    missing_test: list[str]


class _Keys:
    """Rows by the raw bytes of a key."""

    def __init__(self, rows: dict[bytes, int]) -> None:
        self.rows = rows
        self.missing: dict[bytes, None] = {}

    def find(self, tokens: list[bytes]) -> Ids:
        rows = np.fromiter(map(self.rows.get, tokens, repeat(-1)), np.int32, len(tokens))
        self.missing.update((tokens[at], None) for at in np.flatnonzero(rows < 0).tolist())
        return rows

    def take_missing(self) -> list[str]:
        names = [decode(key) for key in self.missing]
        self.missing = {}
        return names


def iterate_trial_rows(
    source: str,
    enroll_index: Mapping[str, int],
    test_index: Mapping[str, int],
    *,
    chunk_trials: int = CHUNK_TRIALS,
) -> Iterator[TrialRows]:
    """Yield the trials of a list in any of the formats, about `chunk_trials` at a time.

    A pair that stands twice is an error; in a list longer than a chunk it is looked for within
    each chunk only, which is said.

    Raises
    ------
    TableError
        As `read_trials`.
    """
    rows = _by_bytes(enroll_index)
    enroll = _Keys(rows)
    test = _Keys(rows if test_index is enroll_index else _by_bytes(test_index))
    parts: list[tuple[Ids, Ids]] = []
    form: _Format | None = None
    num_trials = num_pending = num_chunks = 0
    for block in read_column_blocks(source, allowed={2, 3}, what="trials"):
        form = form or _recognise(block, source)
        part = _find(block, form, source, (enroll, test))
        if num_pending and num_pending + len(part[0]) > chunk_trials:
            yield _join(parts, (enroll, test), source)
            parts, num_pending, num_chunks = [], 0, num_chunks + 1
        parts.append(part)
        num_pending += len(part[0])
        num_trials += len(part[0])
    assert form is not None
    if num_chunks:
        logs.info(f"`{source}` is long: repeated pairs were looked for in parts of it")
    logs.info(f"`{source}`: {num_trials} trials, format `{form.name}`", trials=num_trials)
    yield _join(parts, (enroll, test), source)


def _by_bytes(index: Mapping[str, int]) -> dict[bytes, int]:
    return {encode(key): row for key, row in index.items()}


def _find(block: Block, form: _Format, source: str, keys: tuple[_Keys, _Keys]) -> tuple[Ids, Ids]:
    if form.label is not None:
        _labels(block, form, source)  # raises for a word that is no label
    return keys[0].find(block.columns[form.enroll]), keys[1].find(block.columns[form.test])


def _join(parts: list[tuple[Ids, Ids]], keys: tuple[_Keys, _Keys], source: str) -> TrialRows:
    enroll = np.concatenate([part[0] for part in parts])
    test = np.concatenate([part[1] for part in parts])
    _refuse_repeated(enroll, test, keys, source)
    return TrialRows(enroll, test, keys[0].take_missing(), keys[1].take_missing())


def _refuse_repeated(enroll: Ids, test: Ids, keys: tuple[_Keys, _Keys], source: str) -> None:
    known: NDArray[np.bool_] = (enroll >= 0) & (test >= 0)
    ids = [[decode(key) for key in side.rows] for side in keys]
    codes = pair_codes(enroll[known], test[known], len(ids[1]))
    raise_repeated_pairs(codes, ids[0], ids[1], f"`{source}`", line_numbers=bool(known.all()))
