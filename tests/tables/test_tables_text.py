"""Text tables: nothing is lost or made up, and every mistake has its line."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sv_cli.errors import TableError
from sv_cli.tables.text import (
    count_fields,
    read_floats,
    read_rows,
    read_spk2utt,
    read_table,
    sort_keys,
    write_table,
)

BLANKS = " \t\n\r\v\f"
KEYS = st.text(
    st.characters(exclude_characters=BLANKS + "\0", exclude_categories=["Cs"]), min_size=1
).filter(lambda text: not text.startswith("\ufeff"))
VALUES = st.text(st.characters(exclude_characters="\n\r\0", exclude_categories=["Cs"])).map(
    lambda text: text.strip(BLANKS)
)


@pytest.fixture
def table(tmp_path):
    def write(content):
        path = tmp_path / "table"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(path)

    return write


@given(st.dictionaries(KEYS, VALUES.filter(bool)))
def test_what_is_written_is_read(tmp_path_factory, rows):
    path = str(tmp_path_factory.mktemp("t") / "table")
    write_table(path, rows)
    back = read_table(path)
    assert back == rows
    assert list(back) == sorted(rows, key=lambda key: key.encode())


@given(st.lists(st.text(alphabet="ab \t\n\xa0", max_size=12)))
def test_fields_are_counted_as_split_counts_them(lines):
    lines = [line.replace("\n", "") for line in lines]
    block = "".join(f"{line}\n" for line in lines).encode()
    assert count_fields(block).tolist() == [len(line.encode().split()) for line in lines]


def test_row_1_scalars_of_two_lines(table):
    assert read_floats(table("utt1 100\nutt2 71\n")) == {"utt1": 100, "utt2": 71}
    assert read_floats(table("u 5")) == {"u": 5}
    assert read_floats(table("1 2\n2 3\n")) == {"1": 2, "2": 3}


def test_row_46_a_blank_at_the_end_of_lines(table):
    assert read_floats(table("utt1 1.67 \nutt2 2.059 \n")) == {"utt1": 1.67, "utt2": 2.059}


@pytest.mark.parametrize("word", ["1.#INF", "0x10", "1_0", "ten", "--1"])
def test_row_4_what_is_no_number(table, word):
    with pytest.raises(TableError, match=r":2`.*is not a number"):
        read_floats(table(f"a 1\nb {word}\n"))


def test_row_22_a_duplicate_key_names_both_lines(table):
    with pytest.raises(TableError, match=r":3`.*`a`.*line 1"):
        read_table(table("a 1\nb 2\na 3\n"))


def test_row_21_a_blank_line_or_a_key_alone(table):
    with pytest.raises(TableError, match=":2`: blank line"):
        read_table(table("a 1\n\nb 2\n"))
    with pytest.raises(TableError, match=":2`: key `b`"):
        read_table(table("a 1\nb\nc 2\n"))
    with pytest.raises(TableError, match=":2`: 1 fields"):
        read_table(table("a 1\nb\nc 2\n"), fields=1)


def test_row_25_odd_paths_tabs_and_crlf(table, capsys):
    content = "a\tmy file.wav\nb x:y[z].wav  \n  c x.ark:0\n-5 e\r\n"
    expected = {"a": "my file.wav", "b": "x:y[z].wav", "c": "x.ark:0", "-5": "e"}
    assert read_table(table(content)) == expected
    assert "CRLF" in capsys.readouterr().err


def test_row_27_latin_1_bytes_pass(table, tmp_path):
    source = table(b"\xe4 1\nz 2\n\xc3\xa4 3\n")
    rows = read_table(source)
    assert len(rows) == 3
    write_table(str(tmp_path / "out"), rows)
    assert (tmp_path / "out").read_bytes() == b"z 2\n\xc3\xa4 3\n\xe4 1\n"


def test_row_27_a_byte_order_mark_is_named(table):
    with pytest.raises(TableError, match="byte order mark"):
        read_table(table(b"\xef\xbb\xbfa 1\n"))


def test_row_28_only_ascii_blanks_split(table):
    content = "a\xa0b 1\nc\u2003d 2\ne\x1cf 3\n"
    assert read_table(table(content), fields=1) == {"a\xa0b": "1", "c\u2003d": "2", "e\x1cf": "3"}
    assert list(read_table(table("e\x1cf g h\n"))) == ["e\x1cf"]
    assert read_rows(table("a\xa0b 1\n"), min_fields=2) == [["a\xa0b", "1"]]


@pytest.mark.parametrize("key", ["", "a b", "a\tb", "a\nb"])
def test_row_29_keys_that_would_break_a_table(tmp_path, key):
    with pytest.raises(TableError):
        write_table(str(tmp_path / "x"), {key: "1"})
    assert not (tmp_path / "x").exists()


def test_a_number_of_fields_is_kept_to(table):
    with pytest.raises(TableError, match=":1`: 3 fields in utt2spk, expected 2"):
        read_table(table("a b c\nd e\n"), fields=1, what="utt2spk")
    assert read_rows(table("a b\nc d e\n"), min_fields=2, max_fields=3) == [
        ["a", "b"],
        ["c", "d", "e"],
    ]


def test_shifted_fields_are_seen_though_the_total_fits(table):
    with pytest.raises(TableError, match=":1`"):
        read_table(table("a b c\nd\n"), fields=1)


def test_spk2utt_is_lists(table):
    assert read_spk2utt(table("s a\tb  c \nt d\n")) == {"s": ["a", "b", "c"], "t": ["d"]}


def test_compressed_and_binary_tables_are_named(table):
    with pytest.raises(TableError, match="compressed") as caught:
        read_table(table(b"\x1f\x8b\x08\x00"))
    assert "gunzip" in caught.value.hint
    with pytest.raises(TableError, match="binary"):
        read_table(table(b"a \x00B"))


def test_a_table_through_pipes(tmp_path):
    write_table(f"| cat > {tmp_path}/x", {"b": "2", "a": "1"})
    assert read_table(f"cat {tmp_path}/x |") == {"a": "1", "b": "2"}


def test_many_lines_cross_the_blocks(tmp_path):
    rows = {f"key-{i:06d}": "v" * 40 for i in range(150_000)}
    write_table(str(tmp_path / "x"), rows)
    assert read_table(str(tmp_path / "x"), fields=1) == rows


def test_order_is_that_of_bytes():
    assert sort_keys(["b", "a-", "a", "Z", "ä", "a/"]) == ["Z", "a", "a-", "a/", "b", "ä"]
