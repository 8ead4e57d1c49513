"""Embedding tables: one model, one size, every id."""

import io
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sv_cli.errors import TableError
from sv_cli.tables.embeddings import (
    EmbeddingTable,
    ModelInfo,
    check_same_embeddings,
    read_embedding_pair,
    read_embeddings,
    write_embeddings,
)
from sv_cli.tables.kaldi.arrays import ArrayWriter

INFO = ModelInfo("0123456789abcdef", 4, 16000, "wespeaker", "eres2net")


def table(ids="abc", info=INFO, dim=4):
    matrix = np.random.default_rng(3).standard_normal((len(ids), dim)).astype(np.float32)
    return EmbeddingTable(list(ids), matrix, info)


def test_a_table_and_its_model_come_back(tmp_path):
    write_embeddings(str(tmp_path / "emb"), table())
    back = read_embeddings(str(tmp_path / "emb"))
    assert (back.ids, back.info) == (["a", "b", "c"], INFO)
    np.testing.assert_array_equal(back.matrix, table().matrix)
    assert sorted(path.name for path in (tmp_path / "emb").iterdir()) == [
        ".xvector.ark.lineage.json",
        ".xvector.scp.lineage.json",
        "xvector.ark",
        "xvector.scp",
    ]


def test_an_old_record_does_not_stay(tmp_path):
    write_embeddings(str(tmp_path / "emb"), table())
    write_embeddings(str(tmp_path / "emb"), table(info=None))
    assert read_embeddings(str(tmp_path / "emb")).info is None


def test_rows_by_id(tmp_path):
    one = table()
    assert one.rows(["c", "a", "c"]).tolist() == [2, 0, 2]
    with pytest.raises(TableError, match="lacks 2 embeddings: `y`, `x`"):
        one.rows(["y", "a", "x", "y"])
    np.testing.assert_array_equal(one.take(["c", "a"]).matrix, one.matrix[[2, 0]])


def test_different_models_are_not_compared(tmp_path):
    other = ModelInfo("fedcba9876543210", 4, 16000, "wespeaker", "ecapa")
    write_embeddings(str(tmp_path / "one"), table())
    write_embeddings(str(tmp_path / "two"), table(info=other))
    with pytest.raises(TableError, match=r"different models: eres2net 0123.* and ecapa fedc"):
        read_embedding_pair(str(tmp_path / "one"), str(tmp_path / "two"))
    check_same_embeddings(table(), table(info=None), table())
    with pytest.raises(TableError, match="4 values, those of"):
        check_same_embeddings(table(), table(dim=5, info=None))


def test_the_same_specifier_is_read_once(tmp_path, monkeypatch):
    write_embeddings(f"ark:{tmp_path}/x.ark", table())
    stdin = io.TextIOWrapper(io.BytesIO((tmp_path / "x.ark").read_bytes()))
    monkeypatch.setattr(sys, "stdin", stdin)
    enroll, test = read_embedding_pair("ark:-", "ark:-")
    assert enroll is test
    assert enroll.ids == ["a", "b", "c"]


def test_a_record_of_other_sizes_is_seen(tmp_path):
    write_embeddings(str(tmp_path), table(info=replace(INFO, embedding_dim=5)))
    with pytest.raises(TableError, match="4 values an embedding, but"):
        read_embeddings(str(tmp_path))


def test_an_scp_finds_its_archive_next_to_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_embeddings("emb", table())
    Path("emb").rename("moved")
    Path("sub").mkdir()
    monkeypatch.chdir("sub")
    assert read_embeddings("../moved").info == INFO
    for record in Path("../moved").glob(".*"):
        record.unlink()
    np.testing.assert_array_equal(read_embeddings("../moved").matrix, table().matrix)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"a": np.ones(3), "b": np.ones(4)}, "`b` is 4, no embedding; `a` is of another size"),
        ({"a": np.ones((2, 3))}, "`a` is 2 x 3"),
        ({"a": np.ones(3), "b": np.array([1, np.nan, 1])}, r"1 embeddings hold NaN.*`b`"),
        ({}, "holds no embeddings"),
    ],
)
def test_what_is_no_embedding(tmp_path, arrays, message):
    with ArrayWriter(f"ark:{tmp_path}/x.ark") as writer:
        for key, array in arrays.items():
            writer.write(key, array)
    with pytest.raises(TableError, match=message):
        read_embeddings(f"{tmp_path}/x.ark")


def test_large_values_are_not_taken_for_infinite(tmp_path):
    big = EmbeddingTable(["a"], np.full((1, 4), 1e30, np.float32))
    write_embeddings(f"ark:{tmp_path}/x.ark", big)
    assert read_embeddings(f"{tmp_path}/x.ark").ids == ["a"]
