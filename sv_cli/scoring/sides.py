"""Enrolment and test embeddings read and made ready for cosine: centred, averaged, of length 1."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import repeat
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sv_cli import logs
from sv_cli.backend.center import mean_vector, normalize_length, subtract_mean
from sv_cli.backend.speakers import group_means, group_rows
from sv_cli.errors import SettingsError, TableError, name_some
from sv_cli.tables.datadir.directory import invert
from sv_cli.tables.embeddings import (
    EmbeddingTable,
    check_same_embeddings,
    read_embedding_pair,
    read_embeddings,
)
from sv_cli.tables.kaldi.arrays import read_array, read_npy
from sv_cli.tables.lineage import Lineage, Step, check_same_model, hash_bytes, read_lineage
from sv_cli.tables.pairs.columns import Interner
from sv_cli.tables.pairs.stream import ById, PairChunk, PairIds
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
class SideOptions:
    """How embeddings become the two sides of trials.

    Attributes
    ----------
    submean : str or None
        See `read_mean`.
    enroll_spk2utt : str or None
        Table of enrolment models and their utterances, which the enrolment embeddings then are.
    enroll_utt2spk : str or None
        The same as utterances and their speakers.
    average : {"embeddings", "unit", "scores"}
        What is averaged over a model: the embeddings, those of length 1, or the scores.
    allow_missing : bool
        Leave utterances of models out that have no embedding.
    inner_product : bool
        Leave embeddings as long as they are; done for tables that say so themselves, too.
    """

    submean: str | None = None
    enroll_spk2utt: str | None = None
    enroll_utt2spk: str | None = None
    average: Average = "embeddings"
    allow_missing: bool = False
    inner_product: bool = False


@dataclass(frozen=True)
class Sides:
    """Both sides; one object where the same table serves both.

    Attributes
    ----------
    inner_product : bool
        Whether the rows are as long as they were, not of length 1.
    """

    enroll: Side
    test: Side
    mean: Mean | None = None
    tables: tuple[EmbeddingTable, ...] = ()
    inner_product: bool = False

    @property
    def model(self) -> Mapping[str, Any] | None:
        """The embedding model; None where no table names it."""
        return check_same_model(*(table.lineage for table in self.tables))

    @property
    def lineage(self) -> Lineage:
        """The lineage of scores of these sides."""
        transforms = [
            step.values.get("transform")
            for step in (self.tables[0].lineage.steps if self.tables else ())
            if step.command == "plda transform"
        ]
        values = {
            "inner_product": self.inner_product,
            "submean": hash_mean(self.mean),
            "transforms": transforms,
        }
        source = self.tables[0].source if self.tables else ""
        return Lineage("scores", self.model, (Step("score", values),), source=source)

    def make_ready(
        self, matrix: NDArray[np.float32], ids: Sequence[str], *, what: str = "embeddings"
    ) -> NDArray[np.float32]:
        """Return other embeddings as those of the sides are: in place less the mean, to length."""
        if self.mean is not None:
            subtract_mean(matrix, self.mean)
        return matrix if self.inner_product else normalize_length(matrix, ids, what=what)


def read_mean(source: str, *tables: EmbeddingTable) -> Mean:
    """Mean vector of a file, or of the embeddings that `source` specifies.

    A specifier, a directory, `x.ark` and `x.scp` are embeddings; `x.npy` is one vector of NumPy, as
    WeSpeaker's mean_vec.npy; any other file is one vector of Kaldi, as mean.vec. Embeddings of
    another model than `tables` are refused.
    """
    if names_embeddings(source):
        training = read_embeddings(source)
        if tables:
            check_same_embeddings(*tables, training)
        logs.info(f"subtracting the mean of {len(training.ids)} embeddings of `{source}`")
        return mean_vector(training.matrix)
    check_same_model(*(table.lineage for table in tables), read_lineage(source, wanted=None))
    mean = read_npy(source) if source.endswith(".npy") else read_array(source)
    if mean.ndim != 1:
        raise TableError(f"`{source}` has shape {mean.shape}, where a mean vector is wanted")
    if not np.isfinite(mean).all():
        raise TableError(f"`{source}` holds NaN or infinite values")
    return mean.astype(np.float64)


def hash_mean(mean: Mean | None) -> str | None:
    """Return what identifies a mean vector, at the precision of a file; None for no mean."""
    return None if mean is None else hash_bytes(mean.astype(np.float32).tobytes())


def names_embeddings(source: str) -> bool:
    """Return whether `source` names a table of embeddings, not a file of one vector."""
    from pathlib import Path

    head = source.partition(":")[0].split(",")
    if "ark" in head or "scp" in head or source == "-" or source.endswith("|"):
        return True
    return source.endswith((".ark", ".scp")) or Path(source).is_dir()


def read_sides(enroll: str, test: str, options: SideOptions | None = None) -> Sides:
    """Read both sides, subtract a mean, average enrolment models, scale to length 1.

    The same specifier is read once. Nothing is scaled for the inner product.

    Raises
    ------
    SettingsError
        When a mean or embeddings of length 1 are asked for with the inner product.
    """
    options = options or SideOptions()
    left, right = read_embedding_pair(enroll, test)
    tables = (left,) if right is left else (left, right)
    inner_product = _takes_inner_product(tables, options)
    mean = None if options.submean is None else read_mean(options.submean, *tables)
    if mean is not None:
        for table in tables:
            subtract_mean(table.matrix, mean)
    models = _models(left, options, inner_product=inner_product)
    used = [table for table in tables if table is not left or models is None]
    if models is not None and right is left and options.average == "embeddings":
        used.append(right)  # `_models` has not scaled it
    if not inner_product:
        for table in used:
            normalize_length(table.matrix, table.ids)
    test_side = Side(right.ids, right.matrix)
    if models is None:
        models = test_side if right is left else Side(left.ids, left.matrix)
    return Sides(models, test_side, mean, tables, inner_product)


def _takes_inner_product(tables: Sequence[EmbeddingTable], options: SideOptions) -> bool:
    marked = [table.source for table in tables if table.inner_product]
    if not marked and not options.inner_product:
        return False
    if marked and not options.inner_product:
        logs.info(f"scoring by the inner product, as the record of `{marked[0]}` states")
    if options.submean is not None:
        raise SettingsError(
            "`--submean` is for cosines: nothing is subtracted before the inner product",
            hint="leave `--submean` out",
        )
    if options.average == "unit":
        raise SettingsError(
            "`--length-norm` is for cosines: the inner product takes embeddings as they are",
            hint="leave `--length-norm` out",
        )
    return True


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


def _models(table: EmbeddingTable, options: SideOptions, *, inner_product: bool) -> Side | None:
    """Return the enrolment models, or None where utterances are enrolled."""
    spk2utt = read_groups(options.enroll_spk2utt, options.enroll_utt2spk)
    if spk2utt is None:
        return None
    groups = group_rows(spk2utt, table.index, allow_missing=options.allow_missing)
    if options.average != "embeddings" and not inner_product:
        normalize_length(table.matrix, table.ids)
    means = group_means(table.matrix, groups.rows)
    if options.average != "scores" and not inner_product:
        # the mean of scores is the score of the mean of unit vectors, which are not scaled
        normalize_length(means, groups.ids, what="enrolment models")
    num_left_out = len(spk2utt) - len(groups.ids)
    utts = frozenset(utt for listed in spk2utt.values() for utt in listed)
    return Side(groups.ids, means, groups.counts, num_left_out, utts)


Rows = NDArray[np.int32]


@dataclass(frozen=True)
class Located:
    """Pairs with embeddings on both sides.

    Attributes
    ----------
    chunk : PairChunk
        Without the pairs that lack one.
    enroll, test : (num_pairs,) int32
        Rows of the enrolment and of the test matrix.
    """

    chunk: PairChunk
    enroll: Rows
    test: Rows


class PairRows:
    """Finds the embeddings of pairs, by key; each key is looked up once.

    Parameters
    ----------
    allow_missing : bool
        Leave out pairs without embeddings; else they are an error.
    """

    def __init__(self, sides: Sides, ids: PairIds, *, allow_missing: bool = False) -> None:
        self._enroll = _EmbeddedIds(ids.enroll, sides.enroll, "enrolment")
        self._test = _EmbeddedIds(ids.test, sides.test, "test")
        self._allow_missing = allow_missing

    @property
    def complete(self) -> bool:
        """Whether every key so far has an embedding."""
        return self._enroll.complete and self._test.complete

    def find(self, chunk: PairChunk) -> Located:
        """Return the rows of the embeddings of some pairs.

        Raises
        ------
        TableError
            Names the first keys without an embedding, and how many there are so far.
        """
        enroll = self._enroll.rows(chunk.enroll, allow_missing=self._allow_missing)
        test = self._test.rows(chunk.test, allow_missing=self._allow_missing)
        if self.complete:
            return Located(chunk, enroll, test)
        kept = np.asarray((enroll >= 0) & (test >= 0), dtype=np.bool_)
        return Located(chunk.rows(kept), enroll[kept], test[kept])


class _EmbeddedIds:
    """The embedding of each id of one side, -1 where there is none."""

    def __init__(self, ids: Interner, side: Side, what: str) -> None:
        self._by_id = ById(ids, side.rows)
        self._ids = ids
        self._what = what
        self.complete = True

    def rows(self, numbers: Rows, *, allow_missing: bool) -> Rows:
        num_seen = len(self._by_id.values)
        rows = self._by_id.grow()
        if (rows[num_seen:] < 0).any():
            self.complete = False
        if not self.complete and not allow_missing:
            ids = self._ids.ids()
            missing = [ids[at] for at in np.flatnonzero(rows < 0).tolist()]
            raise TableError(
                f"{len(missing)} {self._what} keys of the trials have no embedding: "
                f"{name_some(missing)}",
                hint="extract them, or leave such trials out with `--allow-missing`",
            )
        return rows[numbers]
