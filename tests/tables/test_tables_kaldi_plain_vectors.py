"""The quick reader gives what the general one gives, or leaves the table to it."""

import subprocess
import sys

import numpy as np
import pytest

from sv_cli.errors import TableError
from sv_cli.tables import embeddings
from sv_cli.tables.embeddings import read_embeddings
from sv_cli.tables.kaldi import plain_vectors
from sv_cli.tables.kaldi.arrays import ArrayWriter
from sv_cli.tables.kaldi.plain_vectors import read_plain_vectors
from sv_cli.tables.kaldi.specifier import parse_rspecifier

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


@pytest.mark.parametrize("form", ["ark:{}.ark", "scp:{}.scp"])
def test_an_archive_that_is_cut_while_it_is_read(tmp_path, form):
    """Mapped memory beyond the end of a file would end the process by SIGBUS."""
    script = """
import os, sys
from sv_cli.tables.kaldi import plain_vectors
from sv_cli.tables.kaldi.specifier import parse_rspecifier
gather = plain_vectors._gather
def cut(content, places):
    os.truncate(sys.argv[1] + ".ark", 10)
    return gather(content, places)
plain_vectors._gather = cut
print(plain_vectors.read_plain_vectors(parse_rspecifier(sys.argv[2]))[1].sum())
"""
    place = tmp_path / "a"
    with ArrayWriter(f"ark,scp:{place}.ark,{place}.scp") as writer:
        for number in range(100):
            writer.write(f"u{number:03d}", np.full(512, 0.5, np.float32))
    line = [sys.executable, "-c", script, str(place), form.format(place)]
    done = subprocess.run(line, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "25600.0\n"), done.stderr


def test_a_few_vectors_of_a_large_archive_are_read_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(plain_vectors, "_MANY_BYTES", 1 << 10)
    place = tmp_path / "a"
    with ArrayWriter(f"ark,scp:{place}.ark,{place}.scp") as writer:
        for number in range(100):
            writer.write(f"u{number:03d}", np.full(8, number + 1, np.float32))
    assert plain_vectors.read_plain_vectors(parse_rspecifier(f"scp:{place}.scp")) is not None
    rows = (tmp_path / "a.scp").read_text().splitlines(keepends=True)
    (tmp_path / "few.scp").write_text("".join(rows[::40]))
    assert plain_vectors.read_plain_vectors(parse_rspecifier(f"scp:{tmp_path}/few.scp")) is None
    table = read_embeddings(f"scp:{tmp_path}/few.scp")
    assert table.matrix[:, 0].tolist() == [1, 41, 81]
