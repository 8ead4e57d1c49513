"""Embedding tables: ids, one matrix, and the lineage that names their model."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from sv_cli.errors import TableError, name_some
from sv_cli.tables.kaldi.arrays import ArrayWriter, iterate_views
from sv_cli.tables.kaldi.objects import Array
from sv_cli.tables.kaldi.plain_vectors import read_plain_vectors
from sv_cli.tables.kaldi.specifier import parse_rspecifier, parse_wspecifier
from sv_cli.tables.lineage import Lineage, check_same_model, read_lineage, write_lineage

_ROWS_A_BLOCK = 4096


@dataclass(frozen=True)
class ModelInfo:
    """The model that made embeddings; tables of different models are never compared.

    Attributes
    ----------
    model_hash : str
        Hash of the weights.
    embedding_dim : int
        Size of an embedding.
    sample_rate : int
        Hz.
    frontend : str
        Name of the features.
    model : str
        Name of the network.
    inner_product : bool
        Whether the embeddings are scored as long as they are, not by their cosine.
    """

    model_hash: str
    embedding_dim: int
    sample_rate: int
    frontend: str
    model: str
    inner_product: bool = False


@dataclass
class EmbeddingTable:
    """Embeddings by id.

    Attributes
    ----------
    ids : list of str
        Distinct.
    matrix : (num_embeddings, dim) float32
        One row an id.
    info : ModelInfo or None
        The model, where it is known.
    source : str
        What messages call the table.
    lineage : Lineage
    """

    ids: list[str]
    matrix: NDArray[np.float32]
    info: ModelInfo | None = None
    source: str = "embeddings"
    lineage: Lineage = field(default_factory=Lineage)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def dim(self) -> int:
        """Size of an embedding."""
        return int(self.matrix.shape[1])

    @property
    def inner_product(self) -> bool:
        """Whether the table says that its embeddings are scored by their inner product."""
        return self.info is not None and self.info.inner_product

    @cached_property
    def index(self) -> dict[str, int]:
        """Row of each id."""
        return {name: row for row, name in enumerate(self.ids)}

    def rows(self, ids: Iterable[str]) -> NDArray[np.intp]:
        """Return the row of each id.

        Raises
        ------
        TableError
            When ids are missing: names the first five, and the count.
        """
        ids = list(ids)
        index = self.index
        rows = np.fromiter((index.get(name, -1) for name in ids), np.intp, len(ids))
        if (rows < 0).any():
            missing = list(dict.fromkeys(name for name in ids if name not in index))
            raise TableError(
                f"`{self.source}` lacks {len(missing)} embeddings: {name_some(missing)}",
                hint="`--allow-missing` counts them and goes on",
            )
        return rows

    def take(self, ids: Sequence[str]) -> "EmbeddingTable":
        """Return the table of these ids, in this order."""
        return replace(self, ids=list(ids), matrix=self.matrix[self.rows(ids)])


def read_embeddings(source: str, *, wanted: str = "xvector.scp") -> EmbeddingTable:
    """Return an embedding table: a directory, a path, or an rspecifier.

    Raises
    ------
    TableError
        When an item is no vector, sizes differ, a value is NaN or infinite, a vector is zero, or
        nothing is there.
    """
    spec = parse_rspecifier(source, wanted=wanted)
    lineage = read_lineage(source, wanted=wanted)
    check_keys = not lineage.files  # a table with a record of its own holds what it held
    plain = read_plain_vectors(spec, check_keys=check_keys)
    ids, matrix = plain or _read_any(source, wanted, check_keys)
    _refuse_broken(source, ids, matrix)
    info = None
    if lineage.model is not None:
        try:
            info = ModelInfo(**lineage.model)
        except TypeError as error:
            raise TableError(f"`{source}` holds no embeddings but {lineage.kind}") from error
        if info.embedding_dim != matrix.shape[1]:
            raise TableError(
                f"`{source}` holds {matrix.shape[1]} values an embedding, but its record says "
                f"{info.embedding_dim}",
                hint="extract again",
            )
    return EmbeddingTable(ids, matrix, info, source, lineage)


def _read_any(source: str, wanted: str, check_keys: bool) -> tuple[list[str], NDArray[np.float32]]:
    ids: list[str] = []
    blocks: list[NDArray[np.float32]] = []
    rows: list[Array] = []
    for key, array in iterate_views(source, wanted=wanted, check_keys=check_keys):
        if array.ndim == 2 and len(array) == 1:  # some tools write a matrix of one row
            array = array[0]
        if array.ndim != 1 or (ids and len(array) != _dim(blocks, rows)):
            raise _misfit(source, key, array, ids)
        ids.append(key)
        rows.append(array)
        if len(rows) == _ROWS_A_BLOCK:
            blocks.append(np.array(rows, np.float32))
            rows = []
    if rows:
        blocks.append(np.array(rows, np.float32))
    if not ids:
        raise TableError(f"`{source}` holds no embeddings")
    return ids, np.concatenate(blocks) if len(blocks) > 1 else blocks[0]


def read_embedding_pair(
    enroll: str, test: str, *, wanted: str = "xvector.scp"
) -> tuple[EmbeddingTable, EmbeddingTable]:
    """Return two tables of one model; the same specifier is read once (so `ark:-` serves both)."""
    first = read_embeddings(enroll, wanted=wanted)
    second = first if test == enroll else read_embeddings(test, wanted=wanted)
    check_same_embeddings(first, second)
    return first, second


def write_embeddings(target: str, table: EmbeddingTable, *, lineage: Lineage | None = None) -> None:
    """Write a table and its record; `lineage` replaces that of the table."""
    with ArrayWriter(target, wanted="xvector") as writer:
        for name, row in zip(table.ids, table.matrix, strict=True):
            writer.write(name, row)
    lineage = lineage or table.lineage
    model = None if table.info is None else asdict(table.info)
    spec = parse_wspecifier(target, wanted="xvector")
    write_lineage((spec.ark, spec.scp), replace(lineage, kind="embeddings", model=model))


def check_same_embeddings(*tables: EmbeddingTable) -> None:
    """Raise when tables have different sizes, models or transforms."""
    first = tables[0]
    for other in tables[1:]:
        if first.dim != other.dim:
            raise TableError(
                f"embeddings of `{first.source}` have {first.dim} values, those of "
                f"`{other.source}` {other.dim}"
            )
        check_same_model(first.lineage, other.lineage)
        one, two = (_transforms(table.lineage) for table in (first, other))
        if one != two and first.lineage.steps and other.lineage.steps:
            raise TableError(
                f"`{first.source}` and `{other.source}` went through different transforms: "
                f"{', '.join(one) or 'none'} and {', '.join(two) or 'none'}",
                hint="apply the same `plda transform` to both",
            )


def _transforms(lineage: Lineage) -> list[str]:
    steps = [step for step in lineage.steps if step.command == "plda transform"]
    return [str(step.values["transform"]) for step in steps]


def _dim(blocks: list[NDArray[np.float32]], rows: list[Array]) -> int:
    return len(rows[0]) if rows else int(blocks[0].shape[1])


def _misfit(source: str, key: str, array: Array, ids: list[str]) -> TableError:
    shape = " x ".join(map(str, array.shape)) or "a single number"
    others = f"; `{ids[0]}` is of another size" if ids and array.ndim == 1 else ""
    return TableError(
        f"`{source}`: `{key}` is {shape}, no embedding{others}",
        hint="an embedding table holds vectors of one size",
    )


def _refuse_broken(source: str, ids: list[str], matrix: NDArray[np.float32]) -> None:
    # A sum of squares is finite only where every value is, and needs no second matrix.
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        squares = np.einsum("ij,ij->i", matrix, matrix)
    suspects = np.flatnonzero(~np.isfinite(squares))
    bad = [ids[row] for row in suspects if not np.isfinite(matrix[row]).all()]
    if bad:
        raise TableError(
            f"`{source}`: {len(bad)} embeddings hold NaN or infinity: {name_some(bad)}",
            hint="extract them again; they have no score",
        )
    zero = [ids[row] for row in np.flatnonzero(squares == 0) if not matrix[row].any()]
    if zero:
        raise TableError(
            f"`{source}`: {len(zero)} embeddings are zero vectors: {name_some(zero)}",
            hint="a zero vector has no direction; extract them again or take them out",
        )
