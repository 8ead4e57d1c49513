"""Array tables: what Kaldi reads is read, and nothing is lost without a word.

`row N` is a row of the table of Kaldi's habits that the readers are held against.
"""

import io
import multiprocessing
import struct
import sys

import kaldiio
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sv_cli.errors import TableError
from sv_cli.tables.kaldi.arrays import (
    ArrayTable,
    ArrayWriter,
    iterate_arrays,
    read_array,
    read_arrays,
    read_scalars,
    write_array,
)

MATRIX = np.arange(12, dtype=np.float32).reshape(4, 3)


@pytest.fixture
def ark(tmp_path):
    def write(content):
        path = tmp_path / "x.ark"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return f"ark:{path}"

    return write


@pytest.fixture
def table(tmp_path):
    """Three matrices in an archive with its scp."""
    with ArrayWriter(f"ark,scp:{tmp_path}/m.ark,{tmp_path}/m.scp") as writer:
        for number, key in enumerate("abc"):
            writer.write(key, MATRIX + number)
    return tmp_path / "m.scp"


def binary(kind, array):
    sizes = b"".join(b"\4" + struct.pack("<i", size) for size in array.shape)
    return b"\0B" + kind + b" " + sizes + array.tobytes()


FLOATS = st.sampled_from([np.float32, np.float64]).flatmap(
    lambda dtype: hnp.arrays(
        dtype, st.one_of(hnp.array_shapes(min_dims=1, max_dims=2, min_side=1, max_side=6))
    )
)
KEYS = st.text(st.characters(categories=["L", "N", "P"]), min_size=1, max_size=8)


@given(st.dictionaries(KEYS, FLOATS, max_size=6))
def test_binary_and_scp_give_back_what_was_written(tmp_path_factory, arrays):
    folder = tmp_path_factory.mktemp("t")
    with ArrayWriter(f"ark,scp:{folder}/x.ark,{folder}/x.scp") as writer:
        for key, array in arrays.items():
            writer.write(key, array)
    for source in (f"ark:{folder}/x.ark", f"scp:{folder}/x.scp"):
        back = read_arrays(source)
        assert back.keys() == arrays.keys()
        for key, array in arrays.items():
            assert back[key].dtype == array.dtype
            np.testing.assert_array_equal(back[key], array)
            assert back[key].flags.writeable
            assert back[key].flags.aligned


@given(hnp.arrays(np.float32, hnp.array_shapes(min_dims=1, max_dims=2, min_side=1, max_side=6)))
def test_text_gives_back_every_bit_of_float32(tmp_path_factory, array):
    path = tmp_path_factory.mktemp("t") / "x"
    with ArrayWriter(f"ark,t:{path}") as writer:
        writer.write("k", array)
    np.testing.assert_array_equal(read_arrays(f"ark:{path}")["k"], array)


@given(hnp.arrays(np.float64, hnp.array_shapes(min_dims=1, max_dims=2, min_side=1, max_side=6)))
def test_a_text_file_without_key_gives_back_every_bit_of_float64(tmp_path_factory, array):
    path = str(tmp_path_factory.mktemp("t") / "x")
    write_array(path, array, text=True)
    np.testing.assert_array_equal(read_array(path), array)


@given(st.binary(max_size=200))
def test_noise_never_crashes_a_reader(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("t") / "x"
    path.write_bytes(b"k \0B" + content)
    try:
        read_arrays(f"ark:{path}")
    except TableError as error:
        assert "\n" not in error.message


def test_the_bytes_are_those_of_kaldiio(tmp_path):
    arrays = {"a": MATRIX, "b": MATRIX[0].astype(np.float64), "c": MATRIX.astype(np.float64)}
    kaldiio.save_ark(str(tmp_path / "theirs"), arrays)
    with ArrayWriter(f"ark:{tmp_path}/ours") as writer:
        for key, array in arrays.items():
            writer.write(key, array)
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "theirs").read_bytes()


def test_row_1_text_scalars(ark):
    assert read_scalars(ark("utt1 100\nutt2 71\n")) == {"utt1": 100, "utt2": 71}
    assert read_scalars(ark("utt1 100\nutt2 7\n")) == {"utt1": 100, "utt2": 7}
    assert read_scalars(ark("u 5")) == {"u": 5}
    assert read_scalars(ark("1 2\n2 3\n")) == {"1": 2, "2": 3}
    assert read_scalars("ark:printf 'u 1.5\\nv 2\\n' |") == {"u": 1.5, "v": 2}


def test_row_2_binary_int32_scalars(ark, tmp_path):
    assert read_scalars(ark(b"a \0B\4\3\0\0\0b \0B\4\1\0\0\0")) == {"a": 3, "b": 1}
    with ArrayWriter(f"ark:{tmp_path}/n.ark") as writer:
        writer.write("a", 3)
        writer.write("b", np.int64(0))
    assert read_scalars(f"ark:{tmp_path}/n.ark") == {"a": 3, "b": 0}


def test_integer_vectors(ark):
    content = b"a \0B" + b"".join(b"\4" + struct.pack("<i", n) for n in (2, 7, -9))
    assert read_arrays(ark(content))["a"].tolist() == [7, -9]
    assert read_arrays(ark("a 1 2 3\nb 4\n"))["a"].dtype == np.int32
    with pytest.raises(TableError, match="32 bits"):
        read_arrays(ark("a 1 3000000000\n"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[ 0 0 0.5 ]", [0, 0, 0.5]),
        ("[ 1e-05 1 ]", [1e-05, 1]),
        ("[ nan 1 ]", [np.nan, 1]),
        ("[ -inf inf ]", [-np.inf, np.inf]),
        ("[ +1.5 ]", [1.5]),
        ("[ 16777217 1 ]", [16777216, 1]),
        ("[ 3000000000 ]", [3e9]),
    ],
)
def test_rows_3_to_5_text_vectors_are_float32(ark, text, expected):
    array = read_arrays(ark(f"k  {text}\n"))["k"]
    assert array.dtype == np.float32
    np.testing.assert_array_equal(array, np.array(expected, np.float32))


@pytest.mark.parametrize("word", ["1.#INF", "0x10", "1_0", "one"])
def test_row_4_what_is_no_number_is_refused(ark, word):
    with pytest.raises(TableError, match="`k`"):
        read_arrays(ark(f"k [ 1 {word} ]\n"))


@pytest.mark.parametrize("text", ["[ 1 2\n 3 4 ]", "[\n 1 2 \n 3 4 ]", "[ 1 2; 3 4 ]"])
def test_rows_5_and_6_matrices(ark, text):
    array = read_arrays(ark(f"k {text}\nl [ 5 ]\n"))["k"]
    assert array.dtype == np.float32
    assert array.tolist() == [[1, 2], [3, 4]]


def test_row_7_empty_matrices(ark):
    assert read_arrays(ark("k  [ ]\nl [ 1 ]\n"))["k"].shape == (0, 0)
    assert read_arrays(ark(b"k " + binary(b"FM", np.zeros((0, 0)))))["k"].shape == (0, 0)


@pytest.mark.parametrize("form", ["ark", "ark,t"])
def test_row_8_empties_are_written_as_0_by_0(tmp_path, form):
    with ArrayWriter(f"{form}:{tmp_path}/x") as writer:
        writer.write("k", np.zeros((0, 80), np.float32))
    assert read_arrays(f"ark:{tmp_path}/x")["k"].shape == (0, 0)
    if form == "ark":
        assert (tmp_path / "x").read_bytes() == b"k " + binary(b"FM", np.zeros((0, 0)))


def test_row_9_blanks_crlf_and_tabs(ark):
    arrays = read_arrays(ark("a\t[ 1 2 ] \r\nb  [\r\n 1 2\r\n 3 4 ]\r\n\n"))
    assert arrays["a"].tolist() == [1, 2]
    assert arrays["b"].tolist() == [[1, 2], [3, 4]]


def test_row_10_doubles_stay_doubles(ark):
    arrays = read_arrays(
        ark(b"a " + binary(b"DM", MATRIX.astype(np.float64)) + b"b " + binary(b"FV", MATRIX[1]))
    )
    assert arrays["a"].dtype == np.float64
    assert arrays["b"].tolist() == MATRIX[1].tolist()


@pytest.mark.parametrize(
    ("method", "kind", "error"), [(1, b"CM ", 0.08), (2, b"CM ", 0.08), (3, b"CM2", 2e-4),
                                  (4, b"CM2", 0.502), (5, b"CM3", 0.05)],
)  # fmt: skip
def test_row_12_compressed_writing(tmp_path, method, kind, error):
    matrix = np.random.default_rng(1).normal(0, 3, (60, 20)).clip(-6, 6).astype(np.float32)
    with ArrayWriter(f"ark:{tmp_path}/x", compression=method) as writer:
        writer.write("k", matrix)
        writer.write("empty", np.zeros((0, 20)))
    assert (tmp_path / "x").read_bytes()[4:7] == kind
    back = read_arrays(f"ark:{tmp_path}/x")
    assert np.abs(back["k"] - matrix).max() < error
    assert back["empty"].shape == (0, 0)
    np.testing.assert_allclose(
        back["k"], dict(kaldiio.load_ark(str(tmp_path / "x")))["k"], atol=4e-6
    )


def test_compression_refuses_what_it_cannot_hold(tmp_path):
    for array in (MATRIX[0], MATRIX * np.nan):
        with pytest.raises(TableError), ArrayWriter(f"ark:{tmp_path}/x", compression=2) as writer:
            writer.write("k", array)
    with pytest.raises(TableError, match="compression method 8"):
        ArrayWriter(f"ark:{tmp_path}/x", compression=8)


def test_row_13_every_cut_of_an_archive_raises(tmp_path):
    content = b"a " + binary(b"FV", MATRIX[0]) + b"b " + binary(b"FM", MATRIX)
    whole = len(b"a " + binary(b"FV", MATRIX[0]))
    path = tmp_path / "x"
    for size in range(1, len(content)):
        path.write_bytes(content[:size])
        if size == whole:
            continue
        with pytest.raises(TableError):
            read_arrays(f"ark:{path}")
        with pytest.raises(TableError):
            read_arrays(f"ark:cat {path} |")
    (tmp_path / "s").write_text(f"b {path}:{whole + 2}\n")
    path.write_bytes(content[:-4])
    with pytest.raises(TableError, match="`b` is cut off"):
        read_arrays(f"scp:{tmp_path}/s")


def test_row_14_a_key_alone_at_the_end(ark):
    for tail in (b"b", b"b ", b"b\n"):
        with pytest.raises(TableError):
            read_arrays(ark(b"a " + binary(b"FV", MATRIX[0]) + tail))


def test_row_15_failed_pipes_raise_though_data_came(table):
    folder = table.parent
    with pytest.raises(TableError, match="status 3"):
        read_arrays(f"ark:cat {folder}/m.ark; exit 3 |")
    with pytest.raises(TableError, match="status 1"):
        read_arrays("ark:false |")
    with pytest.raises(TableError, match="status"):
        read_arrays(f"ark:head -c 60 {folder}/m.ark; exit 5 |")
    (folder / "pipes.scp").write_text("a cat nofile 2>/dev/null |\n")
    with pytest.raises(TableError, match="status 1"):
        read_arrays(f"scp:{folder}/pipes.scp")


def test_row_16_a_failed_output_pipe_raises():
    with (
        pytest.raises(TableError, match="status 7"),
        ArrayWriter("ark:| cat > /dev/null; exit 7") as writer,
    ):
        writer.write("k", MATRIX)


def test_row_17_pipes_and_standard_streams(table, monkeypatch):
    folder = table.parent
    with ArrayWriter(f"ark:| gzip -c > {folder}/x.gz") as writer:
        writer.write("k", MATRIX)
    assert list(read_arrays(f"ark:gunzip -c {folder}/x.gz |")) == ["k"]
    (folder / "pipes.scp").write_text(f"z gunzip -c {folder}/x.gz | tail -c +3 |\n")
    assert read_arrays(f"scp:{folder}/pipes.scp")["z"].tolist() == MATRIX.tolist()
    for rx, file in (("ark:-", "m.ark"), ("-", "m.ark"), ("scp:-", "m.scp")):
        stdin = io.TextIOWrapper(io.BytesIO((folder / file).read_bytes()))
        monkeypatch.setattr(sys, "stdin", stdin)
        assert list(read_arrays(rx)) == ["a", "b", "c"]


def test_row_20_permissive_scp_skips_and_counts(table, tmp_path):
    lines = table.read_text().splitlines()
    (tmp_path / "p.scp").write_text("\n".join([lines[0], "lost nofile.ark:5", lines[2]]) + "\n")
    stream = iterate_arrays(f"scp,p:{tmp_path}/p.scp")
    assert [key for key, _ in stream] == ["a", "c"]
    assert stream.skipped == 1
    with pytest.raises(TableError, match="`lost`"):
        read_arrays(f"scp:{tmp_path}/p.scp")


def test_permissive_archive_keeps_what_came_before(ark):
    content = b"a " + binary(b"FV", MATRIX[0]) + b"b " + binary(b"FM", MATRIX)[:-3]
    stream = iterate_arrays("p," + ark(content))
    assert [key for key, _ in stream] == ["a"]
    assert stream.skipped == 1


def test_rows_21_and_22_scp_lines(table, tmp_path):
    lines = table.read_text().splitlines()
    (tmp_path / "x.scp").write_text("\n".join([lines[0], "", lines[1]]) + "\n")
    with pytest.raises(TableError, match=":2`: blank line"):
        read_arrays(f"scp:{tmp_path}/x.scp")
    (tmp_path / "x.scp").write_text("\n".join([*lines, lines[0]]) + "\n")
    for read in (read_arrays, ArrayTable):
        with pytest.raises(TableError, match=r":4`.*line 1"):
            read(f"scp:{tmp_path}/x.scp")


def test_row_22_duplicate_keys_of_an_archive_name_both_places(ark):
    one = b"a " + binary(b"FV", MATRIX[0])
    for source in (ark(one + one), "p," + ark(one + one)):
        with pytest.raises(TableError, match=f"`a` at byte {len(one) + 2} is at byte 2"):
            list(iterate_arrays(source))


def test_rows_23_and_24_options_lose_nothing(table):
    folder = table.parent
    lines = table.read_text().splitlines()
    (folder / "r.scp").write_text("\n".join(reversed(lines)) + "\n")
    for options in ("s,cs", "o,s,cs,bg", "no,ns,ncs,np", "t", "b"):
        for kind in ("scp:r.scp", "ark:m.ark"):
            source = f"{options},{kind[:4]}{folder}/{kind[4:]}"
            assert set(ArrayTable(source).keys()) == {"a", "b", "c"}
            assert ArrayTable(source)["b"].tolist() == (MATRIX + 1).tolist()


def test_row_26_ranges_include_both_ends(table, tmp_path, capsys):
    place = table.read_text().split()[1]

    def cut(text):
        (tmp_path / "r.scp").write_text(f"a {place}{text}\n")
        return read_arrays(f"scp:{tmp_path}/r.scp")["a"].tolist()

    assert cut("[0:1]") == MATRIX[0:2].tolist()
    assert cut("[1:2,0:1]") == MATRIX[1:3, 0:2].tolist()
    assert cut("[:,1:2]") == MATRIX[:, 1:3].tolist()
    assert not capsys.readouterr().err
    assert cut("[2:6]") == MATRIX[2:].tolist()
    assert "is cut to its 4 rows" in capsys.readouterr().err
    for bad in ("[2:7]", "[,1:2]", "[1]", "[2:1]", "[0:1,0:3]", "[4:4]", "[]", "[0:1,0:1,0:1]"):
        with pytest.raises(TableError):
            cut(bad)


@pytest.mark.parametrize(
    "array",
    [
        MATRIX.astype(np.float16),
        MATRIX.astype(np.int64),
        MATRIX > 3,
        MATRIX.astype(np.uint8),
        MATRIX.tolist(),
        np.asfortranarray(MATRIX),
        MATRIX[::2, ::-1],
        MATRIX.astype(">f4"),
    ],
)
def test_row_30_types_that_lose_nothing_are_taken(tmp_path, array):
    with ArrayWriter(f"ark:{tmp_path}/x") as writer:
        writer.write("k", array)
    np.testing.assert_array_equal(read_arrays(f"ark:{tmp_path}/x")["k"], np.asarray(array))


@pytest.mark.parametrize(
    "array",
    [np.array([2**24 + 1]), np.array(["a"]), np.array([1j]), np.zeros((1, 1, 1)), [[1], [1, 2]]],
)
def test_row_30_types_that_would_lose_are_refused(tmp_path, array):
    with pytest.raises((TableError, ValueError)), ArrayWriter(f"ark:{tmp_path}/x") as writer:
        writer.write("k", array)
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("key", ["", "a b", "a\n", "a\tb", "a\0b"])
def test_row_29_keys_that_would_break_the_archive(tmp_path, key):
    with pytest.raises(TableError), ArrayWriter(f"ark:{tmp_path}/x") as writer:
        writer.write(key, MATRIX)
    assert not list(tmp_path.iterdir())


def test_a_key_is_written_once(tmp_path):
    with pytest.raises(TableError, match="twice"), ArrayWriter(f"ark:{tmp_path}/x") as writer:
        writer.write("k", MATRIX)
        writer.write("k", MATRIX)


def test_nothing_appears_of_a_broken_run(tmp_path):
    with (
        pytest.raises(RuntimeError),
        ArrayWriter(f"ark,scp:{tmp_path}/a.ark,{tmp_path}/a.scp") as writer,
    ):
        writer.write("k", MATRIX)
        raise RuntimeError
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", [b"FV", b"FM", b"CM", b"CM2"])
def test_a_size_that_the_file_cannot_hold_takes_no_memory(ark, kind):
    size = struct.pack("<i", 2**31 - 1)
    header = b"\4" + size + (b"\4" + size if kind == b"FM" else b"")
    if kind.startswith(b"C"):
        header = struct.pack("<ffii", 0, 1, 2**31 - 1, 2**31 - 1)
    source = ark(b"k \0B" + kind + b" " + header + b"abcd")
    for each in (source, f"ark:cat {source[4:]} |"):
        with pytest.raises(TableError, match="cut off"):
            read_arrays(each)


def test_negative_sizes_and_unknown_kinds(ark):
    with pytest.raises(TableError, match="damaged"):
        read_arrays(ark(b"k \0BFV \4" + struct.pack("<i", -1)))
    with pytest.raises(TableError, match="no matrix or vector"):
        read_arrays(ark(b"k \0B<Plda> abcdefgh"))
    with pytest.raises(TableError, match="audio"):
        read_arrays(ark(b"k RIFFabcdWAVE"))
    with pytest.raises(TableError, match="no key"):
        read_arrays(ark(b"\0\1\2 abc"))


def test_scp_writing_puts_each_where_it_says(tmp_path):
    (tmp_path / "w.scp").write_text(f"a {tmp_path}/one\nb {tmp_path}/two\n")
    with ArrayWriter(f"scp:{tmp_path}/w.scp") as writer:
        writer.write("b", MATRIX)
    assert read_array(f"{tmp_path}/two[0:0]").tolist() == MATRIX[:1].tolist()
    assert not (tmp_path / "one").exists()
    with (
        pytest.raises(TableError, match="no place"),
        ArrayWriter(f"scp:{tmp_path}/w.scp") as writer,
    ):
        writer.write("c", MATRIX)


def test_the_scp_is_sorted_by_bytes(tmp_path):
    with ArrayWriter(str(tmp_path / "new"), wanted="feats") as writer:
        for key in ("b", "a-", "Z", "ä", "a"):
            writer.write(key, MATRIX)
    lines = (tmp_path / "new" / "feats.scp").read_text().splitlines()
    assert [line.split()[0] for line in lines] == ["Z", "a", "a-", "b", "ä"]


def _read_in_child(arguments):
    table, key = arguments
    return [float(table[key].sum()) for _ in range(50)]


def test_worker_processes_do_not_disturb_each_other(table):
    arrays = ArrayTable(f"scp:{table}")
    expected = {key: float(arrays[key].sum()) for key in arrays.keys()}  # noqa: SIM118
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        found = pool.map(_read_in_child, [(arrays, key) for key in "abc"])
    assert [set(sums) for sums in found] == [{expected[key]} for key in "abc"]


def test_many_vectors_cross_the_blocks(tmp_path):
    vectors = np.random.default_rng(0).standard_normal((9000, 200)).astype(np.float32)
    with ArrayWriter(str(tmp_path)) as writer:
        for number, vector in enumerate(vectors):
            writer.write(f"k{number:05d}", vector)
    for source in (f"ark:{tmp_path}/feats.ark", f"scp:{tmp_path}/feats.scp"):
        back = np.array([array for _, array in iterate_arrays(source)])
        np.testing.assert_array_equal(back, vectors)
