"""Embedding tables read by the quick way where they are plain, else by the general reader."""

import numpy as np

from sv_cli.errors import TableError, name_some
from sv_cli.tables.embeddings import (
    EmbeddingTable,
    _read_info,
    check_same_model,
)
from sv_cli.tables.embeddings import read_embeddings as read_any_embeddings
from sv_cli.tables.plain_vectors import read_plain_vectors
from sv_cli.tables.specifier import parse_rspecifier


def read_embeddings(source: str) -> EmbeddingTable:
    """Return an embedding table, as `tables.embeddings.read_embeddings`, sooner."""
    spec = parse_rspecifier(source, wanted="xvector.scp")
    plain = read_plain_vectors(spec)
    if plain is None:
        return read_any_embeddings(source)
    ids, matrix = plain
    info = _read_info(spec.beside)
    if info is not None and info.embedding_dim != matrix.shape[1]:
        return read_any_embeddings(source)  # which says what is wrong
    with np.errstate(over="ignore", invalid="ignore"):
        squares = np.einsum("ij,ij->i", matrix, matrix)
    suspects = np.flatnonzero(~np.isfinite(squares)).tolist()
    broken = [ids[row] for row in suspects if not np.isfinite(matrix[row]).all()]
    if broken:
        raise TableError(
            f"`{source}`: {len(broken)} embeddings hold NaN or infinity: {name_some(broken)}"
        )
    return EmbeddingTable(ids, matrix, info, source)


def read_embedding_pair(enroll: str, test: str) -> tuple[EmbeddingTable, EmbeddingTable]:
    """Return two tables of one model; the same specifier is read once."""
    first = read_embeddings(enroll)
    second = first if test == enroll else read_embeddings(test)
    check_same_model(first, second)
    return first, second
