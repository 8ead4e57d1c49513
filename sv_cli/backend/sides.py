"""Enrolment and test embeddings read and made ready for cosine: centred, averaged, of length 1."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import repeat
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from sv_cli import logs
from sv_cli.backend.center import mean_vector, normalize_length, subtract_mean
from sv_cli.backend.score_origin import embedding_hash
from sv_cli.backend.speakers import group_means, group_rows
from sv_cli.errors import SettingsError, TableError
from sv_cli.tables.arrays import read_array
from sv_cli.tables.datadir import invert
from sv_cli.tables.embeddings import (
    EmbeddingTable,
    check_same_model,
    read_embedding_pair,
    read_embeddings,
)
from sv_cli.tables.text import read_spk2utt, read_table

Average = Literal["embeddings", "unit", "scores"]
Mean = NDArray[np.float64]


@dataclass(frozen=True)
class Side:
    """One side of the trials.

    Attributes
    ----------
    ids : list of str
        Utterances or enrolment models.
    matrix : (num_ids, embedding_dim) float32
    counts : (num_ids,) int64 or None
        Utterances of each enrolment model; None for one each.
    num_left_out : int
        Enrolment models of which no utterance has an embedding.
    utts : frozenset of str
        Utterances that enrolment models are averaged of.
    """

    ids: list[str]
    matrix: NDArray[np.float32]
    counts: NDArray[np.int64] | None = None
    num_left_out: int = 0
    utts: frozenset[str] = frozenset()

    @cached_property
    def index(self) -> dict[str, int]:
        """Row of each key."""
        return {key: row for row, key in enumerate(self.ids)}

    def rows(self, ids: Sequence[str]) -> NDArray[np.int32]:
        """Row of each key, -1 where there is none."""
        return np.fromiter(map(self.index.get, ids, repeat(-1)), np.int32, len(ids))


@dataclass(frozen=True)
class Sides:
    """Both sides; one object where the same table serves both.

    Attributes
    ----------
    model_hash : str or None
        Of the embedding model, where a table tells it.
    """

    enroll: Side
    test: Side
    mean: Mean | None = None
    tables: tuple[EmbeddingTable, ...] = ()
    model_hash: str | None = None


def read_mean(source: str, *tables: EmbeddingTable) -> Mean:
    """Mean vector of a file, or of the embeddings that `source` specifies.

    A specifier, a directory, `x.ark` and `x.scp` are embeddings; any other file is one vector, as
    Kaldi's mean.vec. Embeddings of another model than `tables` are refused.
    """
    if names_embeddings(source):
        training = read_embeddings(source)
        if tables:
            check_same_model(*tables, training)
        logs.info(f"subtracting the mean of {len(training.ids)} embeddings of `{source}`")
        return mean_vector(training.matrix)
    mean = read_array(source)
    if mean.ndim != 1:
        raise TableError(f"`{source}` holds a matrix, where a mean vector is wanted")
    if not np.isfinite(mean).all():
        raise TableError(f"`{source}` holds NaN or infinite values")
    return mean.astype(np.float64)


def names_embeddings(source: str) -> bool:
    """Tell a table of embeddings from a file that holds one vector."""
    from pathlib import Path

    head = source.partition(":")[0].split(",")
    if "ark" in head or "scp" in head or source == "-" or source.endswith("|"):
        return True
    return source.endswith((".ark", ".scp")) or Path(source).is_dir()


def read_sides(
    enroll: str,
    test: str,
    *,
    submean: str | None = None,
    enroll_spk2utt: str | None = None,
    enroll_utt2spk: str | None = None,
    average: Average = "embeddings",
    allow_missing: bool = False,
) -> Sides:
    """Read both sides, subtract a mean, average enrolment models, scale to length 1.

    Parameters
    ----------
    enroll, test : str
        Tables of embeddings; the same specifier is read once.
    submean : str or None
        See `read_mean`.
    enroll_spk2utt : str or None
        Table of enrolment models and their utterances, which `enroll` then holds.
    enroll_utt2spk : str or None
        The same as utterances and their speakers.
    average : {"embeddings", "unit", "scores"}
        What is averaged over a model: the embeddings, those of length 1, or the scores.
    """
    left, right = read_embedding_pair(enroll, test)
    tables = (left,) if right is left else (left, right)
    check_same_model(*tables)
    model_hash = embedding_hash(left) or embedding_hash(right)
    mean = None if submean is None else read_mean(submean, *tables)
    if mean is not None:
        for table in tables:
            subtract_mean(table.matrix, mean)
    models = None
    spk2utt = read_groups(enroll_spk2utt, enroll_utt2spk)
    if spk2utt is not None:
        models = _average(left, spk2utt, average, allow_missing=allow_missing)
    if right is not left or models is None or average == "embeddings":
        _to_unit(right)
    test_side = Side(right.ids, right.matrix)
    if models is not None:
        return Sides(models, test_side, mean, tables, model_hash)
    if right is left:
        return Sides(test_side, test_side, mean, tables, model_hash)
    _to_unit(left)
    return Sides(Side(left.ids, left.matrix), test_side, mean, tables, model_hash)


def _to_unit(table: EmbeddingTable) -> None:
    normalize_length(table.matrix, table.ids)


def read_groups(spk2utt: str | None, utt2spk: str | None) -> dict[str, list[str]] | None:
    """Return the utterances of each speaker, from a table of either form; None for no table.

    Raises
    ------
    SettingsError
        When both are given.
    """
    if spk2utt is not None and utt2spk is not None:
        raise SettingsError("`spk2utt` and `utt2spk` of one side say the same; give one")
    if spk2utt is not None:
        return read_spk2utt(spk2utt)
    if utt2spk is None:
        return None
    return invert(read_table(utt2spk, fields=1, what="utt2spk"))


def _average(
    table: EmbeddingTable,
    spk2utt: Mapping[str, Sequence[str]],
    average: Average,
    *,
    allow_missing: bool,
) -> Side:
    groups = group_rows(spk2utt, table.index, allow_missing=allow_missing)
    if average != "embeddings":
        _to_unit(table)
    means = group_means(table.matrix, groups.rows)
    if average != "scores":
        # the mean of scores is the score of the mean of unit vectors, left as long as it is
        normalize_length(means, groups.ids, what="enrolment models")
    num_left_out = len(spk2utt) - len(groups.ids)
    utts = frozenset(utt for listed in spk2utt.values() for utt in listed)
    return Side(groups.ids, means, groups.counts, num_left_out, utts)
