"""Means over the utterances of a speaker, of an enrolment model, of a cohort member."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sv_cli.errors import TableError, name_some

Rows = NDArray[np.int64]
BATCH_ROWS = 8192


@dataclass(frozen=True)
class Groups:
    """Rows of a matrix that belong together.

    Attributes
    ----------
    ids : list of str
        Speakers or models.
    rows : list of (num_utts_of_speaker,) int64
    missing : list of str
        Utterances that were listed and not found.
    """

    ids: list[str]
    rows: list[Rows]
    missing: list[str]

    @property
    def counts(self) -> Rows:
        """Utterances of each group, (num_groups,)."""
        return np.array([len(rows) for rows in self.rows], dtype=np.int64)


def group_rows(
    spk2utt: Mapping[str, Sequence[str]], index: Mapping[str, int], *, allow_missing: bool = False
) -> Groups:
    """Look the utterances of each speaker up.

    Parameters
    ----------
    spk2utt : mapping of speaker to utterances
    index : mapping of utterance to row
    allow_missing : bool
        Leave absent utterances out, and speakers of whom none is left.

    Raises
    ------
    TableError
        Names the first utterances without an embedding, or those that one speaker lists twice.
    """
    groups = Groups([], [], [])
    for speaker, utts in spk2utt.items():
        rows = [index.get(utt, -1) for utt in utts]
        if len(set(utts)) != len(utts):
            raise TableError(f"speaker `{speaker}` lists an utterance twice")
        if -1 in rows:
            groups.missing.extend(u for u, row in zip(utts, rows, strict=True) if row < 0)
            rows = [row for row in rows if row >= 0]
        if rows:
            groups.ids.append(speaker)
            groups.rows.append(np.array(rows, dtype=np.int64))
    if groups.missing and not allow_missing:
        raise TableError(
            f"{len(groups.missing)} utterances of the speakers have no embedding: "
            f"{name_some(groups.missing)}",
            hint="extract them, or leave them out with `--allow-missing`",
        )
    if not groups.ids:
        raise TableError("no speaker has an embedding; do the two tables belong together?")
    return groups


def group_means(matrix: NDArray[np.floating], groups: Sequence[Rows]) -> NDArray[np.float32]:
    """Mean of the rows of each group, accumulated in float64.

    Parameters
    ----------
    matrix : (num_utts, embedding_dim)
    groups : sequence of (num_utts_of_group,) int, none empty

    Returns
    -------
    means : (num_groups, embedding_dim) float32
    """
    means = np.empty((len(groups), matrix.shape[1]), dtype=np.float32)
    counts = np.array([len(rows) for rows in groups], dtype=np.int64)
    ends = np.cumsum(counts)
    first = 0
    while first < len(groups):
        # whole groups of about BATCH_ROWS rows in one gather, at least one group
        before = ends[first] - counts[first]
        last = max(first + 1, int(np.searchsorted(ends, before + BATCH_ROWS, side="right")))
        gathered = matrix[np.concatenate(groups[first:last])].astype(np.float64)
        starts = ends[first:last] - counts[first:last] - before
        sums = np.add.reduceat(gathered, starts, axis=0)
        means[first:last] = sums / counts[first:last, None]
        first = last
    return means
