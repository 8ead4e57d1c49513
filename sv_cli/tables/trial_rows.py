"""Trials as rows of embeddings already read, a bounded number at a time.

A list of 10^8 trials does not fit into a laptop; its embeddings do. What stands in the list is
looked up block by block, so the memory does not grow with it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import repeat

import numpy as np

from sv_cli import logs
from sv_cli.tables.pairs import (
    Block,
    Ids,
    Interner,
    pair_codes,
    raise_repeated_pairs,
    read_column_blocks,
)
from sv_cli.tables.trials import TrialFormat, read_labels, recognise

CHUNK_TRIALS = 1 << 22


@dataclass(frozen=True)
class TrialRows:
    """Some trials of a list, in its order.

    Attributes
    ----------
    enroll, test : (num_trials,) int32
        Row of each side's embedding, -1 where there is none.
    missing_enroll, missing_test : list of str
        Distinct keys without a row, met so far.
    """

    enroll: Ids
    test: Ids
    missing_enroll: list[str]
    missing_test: list[str]


class _Keys:
    """Rows by key: keys are numbered as they are met, each is looked up once.

    Numbers of keys that stand close in the list lie close in memory, which rows do not.
    """

    def __init__(self, index: Mapping[str, int]) -> None:
        self._index = index
        self._interner = Interner()
        self.number = self._interner.number

    def look_up(self) -> tuple[list[str], Ids]:
        """Return all keys so far, and the row of each."""
        ids = self._interner.ids()
        return ids, np.fromiter(map(self._index.get, ids, repeat(-1)), np.int32, len(ids))


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
    keys = _Keys(enroll_index), _Keys(test_index)
    parts: list[tuple[Ids, Ids]] = []
    form: TrialFormat | None = None
    num_trials = num_pending = num_chunks = 0
    for block in read_column_blocks(source, allowed={2, 3}, what="trials"):
        form = form or recognise(block, source)
        part = _number(block, form, source, keys)
        if num_pending and num_pending + len(part[0]) > chunk_trials:
            yield _join(parts, keys, source, first=not num_chunks)
            parts, num_pending, num_chunks = [], 0, num_chunks + 1
        parts.append(part)
        num_pending += len(part[0])
        num_trials += len(part[0])
    assert form is not None
    if num_chunks:
        logs.info(f"`{source}` is long: repeated pairs were looked for in parts of it")
    logs.info(f"`{source}`: {num_trials} trials, format `{form.name}`", trials=num_trials)
    yield _join(parts, keys, source, first=not num_chunks)


def _number(
    block: Block, form: TrialFormat, source: str, keys: tuple[_Keys, _Keys]
) -> tuple[Ids, Ids]:
    if form.label is not None:
        read_labels(block, form, source)  # raises for a word that is no label
    return keys[0].number(block.columns[form.enroll]), keys[1].number(block.columns[form.test])


def _join(
    parts: list[tuple[Ids, Ids]], keys: tuple[_Keys, _Keys], source: str, *, first: bool
) -> TrialRows:
    enroll = np.concatenate([part[0] for part in parts])
    test = np.concatenate([part[1] for part in parts])
    enroll_ids, enroll_rows = keys[0].look_up()
    test_ids, test_rows = keys[1].look_up()
    codes = pair_codes(enroll, test, len(test_ids))
    raise_repeated_pairs(codes, enroll_ids, test_ids, f"`{source}`", line_numbers=first)
    missing = [
        [ids[at] for at in np.flatnonzero(rows < 0).tolist()]
        for ids, rows in ((enroll_ids, enroll_rows), (test_ids, test_rows))
    ]
    return TrialRows(enroll_rows[enroll], test_rows[test], *missing)
