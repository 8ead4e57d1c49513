"""The quick reader gives what the general one gives, or leaves the table to it."""

import numpy as np
import pytest

from sv_cli.errors import TableError
from sv_cli.tables import embeddings
from sv_cli.tables.arrays import ArrayWriter
from sv_cli.tables.embeddings import read_embeddings
from sv_cli.tables.plain_vectors import read_plain_vectors
from sv_cli.tables.specifier import parse_rspecifier

IDS = ["a", "bb-1", "ümlaut", "a.very.long.key" * 20]


@pytest.fixture
def folder(tmp_path):
    write(tmp_path)
    return tmp_path


def write(folder, dtype=np.float32, options=""):
    matrix = np.random.default_rng(0).standard_normal((len(IDS), 5)).astype(dtype)
    name = folder / "xvector"
    with ArrayWriter(f"ark{options},scp:{name}.ark,{name}.scp") as writer:
        for key, row in zip(IDS, matrix, strict=True):
            writer.write(key, row)


def quick(source):
    return read_plain_vectors(parse_rspecifier(str(source)))


@pytest.mark.parametrize("name", ["xvector.ark", "xvector.scp", ""])
def test_the_same_as_the_general_reader(folder, name):
    ids, matrix = quick(folder / name)
    general = embeddings.read_embeddings(str(folder / name))
    assert ids == general.ids
    np.testing.assert_array_equal(matrix, general.matrix)
    assert matrix.dtype == np.float32
    matrix += 1  # writable


def test_an_scp_in_another_order_and_a_part_of_it(folder):
    lines = (folder / "xvector.scp").read_text().splitlines()
    (folder / "part.scp").write_text(f"{lines[2]}\n{lines[0]}\n")
    ids, matrix = quick(folder / "part.scp")
    whole = embeddings.read_embeddings(str(folder))
    np.testing.assert_array_equal(matrix, whole.take(ids).matrix)


@pytest.mark.parametrize(("dtype", "options"), [(np.float64, ""), (np.float32, ",t")])
def test_other_kinds_are_left_to_the_general_reader(folder, dtype, options):
    write(folder, dtype, options)
    assert quick(folder / "xvector.ark") is None
    assert quick(folder / "xvector.scp") is None
    assert read_embeddings(str(folder)).ids == embeddings.read_embeddings(str(folder)).ids


@pytest.mark.parametrize("cut", [1, 4, 21, 25])
def test_a_cut_archive_is_an_error(folder, cut):
    content = (folder / "xvector.ark").read_bytes()
    (folder / "xvector.ark").write_bytes(content[:-cut])
    for name in ("xvector.ark", "xvector.scp"):
        assert quick(folder / name) is None
        with pytest.raises(TableError):
            read_embeddings(str(folder / name))


def test_a_key_that_repeats_is_an_error(folder):
    content = (folder / "xvector.ark").read_bytes()
    (folder / "xvector.ark").write_bytes(content + content)
    with pytest.raises(TableError, match="`a`"):
        read_embeddings(str(folder / "xvector.ark"))


def test_pipes_offsets_and_empty_files(folder):
    assert quick(f"ark:cat {folder}/xvector.ark |") is None
    assert quick(f"ark:{folder}/xvector.ark:0") is None
    (folder / "empty.ark").write_bytes(b"")
    assert quick(folder / "empty.ark") is None


def test_values_that_are_not_finite_are_named(folder):
    matrix = np.ones((2, 5), dtype=np.float32)
    matrix[1, 3] = np.nan
    with ArrayWriter(f"ark:{folder}/bad.ark") as writer:
        writer.write("good", matrix[0])
        writer.write("bad", matrix[1])
    with pytest.raises(TableError, match="1 embeddings hold NaN or infinity: `bad`"):
        read_embeddings(str(folder / "bad.ark"))
