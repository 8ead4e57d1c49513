"""The 47 habits of Kaldi's tables and recordings, and the tests that hold ours against them.

Those that stand elsewhere are named; those that no other file shows follow below.
"""

import gzip
import re
from pathlib import Path

import numpy as np
import pytest

from sv_cli.errors import TableError
from sv_cli.tables.datadir.directory import DataDir
from sv_cli.tables.datadir.fix import fix
from sv_cli.tables.kaldi.arrays import ArrayTable, ArrayWriter, read_arrays, read_scalars
from sv_cli.tables.pairs.trials import read_trials
from sv_cli.tables.text import read_floats

TESTS = Path(__file__).parent.parent
ARRAYS, TEXT = "tables/test_tables_kaldi_arrays.py", "tables/test_tables_text.py"
SPECIFIER, GOLDEN = "tables/test_tables_kaldi_specifier.py", "tables/test_tables_golden.py"
TRIALS, SCORE = "tables/test_tables_pairs_trials.py", "commands/test_commands_score.py"
WAV, READ = "audio/test_audio_wav.py", "audio/test_audio_read.py"
HERE = "tables/test_tables_kaldi_rows.py"
FORMS = (WAV, "test_every_form_comes_to_the_same_samples")
PIPED = (WAV, "test_streamed_headers_through_a_pipe")

ROWS = {
    "01 text scalars": [
        (ARRAYS, "test_row_1_text_scalars"),
        (TEXT, "test_row_1_scalars_of_two_lines"),
    ],
    "02 binary int32 scalars": [(ARRAYS, "test_row_2_binary_int32_scalars")],
    "03 text vectors that begin without a point": [
        (ARRAYS, "test_rows_3_to_5_text_vectors_are_float32")
    ],
    "04 infinity, NaN and what is no number": [
        (ARRAYS, "test_rows_3_to_5_text_vectors_are_float32"),
        (ARRAYS, "test_row_4_what_is_no_number_is_refused"),
        (TEXT, "test_row_4_what_is_no_number"),
    ],
    "05 text of integers alone": [
        (ARRAYS, "test_rows_3_to_5_text_vectors_are_float32"),
        (ARRAYS, "test_rows_5_and_6_matrices"),
    ],
    "06 `;` between rows": [(ARRAYS, "test_rows_5_and_6_matrices")],
    "07 empty matrices read": [(ARRAYS, "test_row_7_empty_matrices")],
    "08 empty matrices written": [(ARRAYS, "test_row_8_empties_are_written_as_0_by_0")],
    "09 blanks, CRLF and TAB in a text archive": [(ARRAYS, "test_row_9_blanks_crlf_and_tabs")],
    "10 doubles, and kinds mixed": [(ARRAYS, "test_row_10_doubles_stay_doubles")],
    "11 compressed matrices read": [(GOLDEN, "test_row_11_expansion_is_kaldis")],
    "12 compressed matrices written": [
        (ARRAYS, "test_row_12_compressed_writing"),
        (HERE, "test_row_12_methods_of_a_fixed_range"),
    ],
    "13 cut archives": [
        (ARRAYS, "test_row_13_every_cut_of_an_archive_raises"),
        ("tables/test_tables_kaldi_plain_vectors.py", "test_a_cut_archive_is_an_error"),
    ],
    "14 a key alone at the end": [(ARRAYS, "test_row_14_a_key_alone_at_the_end")],
    "15 input commands that fail": [
        (ARRAYS, "test_row_15_failed_pipes_raise_though_data_came"),
        (SPECIFIER, "test_row_15_a_failed_input_command_raises"),
        (READ, "test_a_pipe_that_fails_is_an_error"),
    ],
    "16 output commands that fail, full disks": [
        (ARRAYS, "test_row_16_a_failed_output_pipe_raises"),
        (SPECIFIER, "test_row_16_a_failed_output_command_raises"),
        (SPECIFIER, "test_row_16_a_full_disk_raises"),
    ],
    "17 pipes and standard streams": [
        (ARRAYS, "test_row_17_pipes_and_standard_streams"),
        (SCORE, "test_pipes_give_the_same_bytes"),
    ],
    "18 compressed files": [(HERE, "test_row_18_a_gzip_file_is_named_with_the_remedy")],
    "19 `ark,scp:` into a pipe": [(SPECIFIER, "test_what_is_no_wspecifier_is_refused")],
    "20 `scp,p:` with a file missing": [(ARRAYS, "test_row_20_permissive_scp_skips_and_counts")],
    "21 blank lines and keys alone in an scp": [
        (ARRAYS, "test_rows_21_and_22_scp_lines"),
        (TEXT, "test_row_21_a_blank_line_or_a_key_alone"),
    ],
    "22 keys that repeat": [
        (ARRAYS, "test_rows_21_and_22_scp_lines"),
        (ARRAYS, "test_row_22_duplicate_keys_of_an_archive_name_both_places"),
        (TEXT, "test_row_22_a_duplicate_key_names_both_lines"),
    ],
    "23 `s` and `cs` on tables that are not sorted": [
        (ARRAYS, "test_rows_23_and_24_options_lose_nothing"),
        (HERE, "test_row_23_an_unsorted_archive_loses_nothing"),
    ],
    "24 options of every kind": [(ARRAYS, "test_rows_23_and_24_options_lose_nothing")],
    "25 odd paths, keys and blanks in an scp": [
        (TEXT, "test_row_25_odd_paths_tabs_and_crlf"),
        (HERE, "test_row_25_arrays_at_odd_paths"),
    ],
    "26 ranges": [(ARRAYS, "test_row_26_ranges_include_both_ends")],
    "27 UTF-8, Latin-1 and byte order marks": [
        (TEXT, "test_row_27_latin_1_bytes_pass"),
        (TEXT, "test_row_27_a_byte_order_mark_is_named"),
        (HERE, "test_rows_27_and_28_keys_of_any_bytes_in_archives"),
        (HERE, "test_row_27_a_byte_order_mark_in_an_archive_is_named"),
    ],
    "28 blanks beyond ASCII": [
        (TEXT, "test_row_28_only_ascii_blanks_split"),
        (HERE, "test_rows_27_and_28_keys_of_any_bytes_in_archives"),
        (HERE, "test_row_28_recordings_named_with_other_blanks"),
    ],
    "29 keys with a blank": [
        (ARRAYS, "test_row_29_keys_that_would_break_the_archive"),
        (TEXT, "test_row_29_keys_that_would_break_a_table"),
    ],
    "30 types of arrays": [
        (ARRAYS, "test_row_30_types_that_lose_nothing_are_taken"),
        (ARRAYS, "test_row_30_types_that_would_lose_are_refused"),
    ],
    "31 text vectors of integers": [(HERE, "test_row_31_integers_with_and_without_brackets")],
    "32 WAVE files of 16 bits": [FORMS, (WAV, "test_channels")],
    "33 WAVE files of 24 and 32 bits and floats": [FORMS],
    "34 WAVE files of 8 bits and mu-law": [
        (WAV, "test_eight_bit_forms_agree_with_libsndfile"),
        (WAV, "test_every_code_of_g711"),
    ],
    "35 RIFX": [FORMS],
    "36 a length of 0 in the header": [FORMS, PIPED],
    "37 lengths of streams in the header": [
        FORMS,
        PIPED,
        (WAV, "test_a_header_longer_than_the_file_is_read_to_the_end_and_said"),
    ],
    "38 headers shorter than the file, no samples": [FORMS, (WAV, "test_broken_files_are_named")],
    "39 FLAC and Ogg": [
        (READ, "test_lossless_forms_have_one_scale"),
        (READ, "test_lossy_forms_have_the_same_scale"),
    ],
    "40 samples beyond 1": [(WAV, "test_samples_beyond_one_are_kept")],
    "41 stereo": [(WAV, "test_channels")],
    "42 another sample rate": [(READ, "test_another_rate_is_resampled_and_said_once")],
    "43 segments": [
        (READ, "test_segments"),
        (READ, "test_segments_that_do_not_fit"),
        (READ, "test_segments_are_those_of_kaldi"),
        (HERE, "test_row_43_segments_with_crlf_and_channels"),
    ],
    "44 archives of recordings": [
        (READ, "test_an_entry_of_an_archive"),
        ("commands/test_commands_make_fbank.py", "test_sources_agree"),
    ],
    "45 trials": [
        (TRIALS, "test_the_formats_are_recognised_and_said"),
        (TRIALS, "test_row_45_two_columns_have_no_labels"),
        (TRIALS, "test_mistakes_have_their_line"),
        (SCORE, "test_missing_keys_are_named_or_counted"),
        (HERE, "test_row_45_plain_trials_with_crlf_and_tabs"),
    ],
    "46 numbers as Kaldi writes them": [
        (GOLDEN, "test_row_46_kaldis_text_is_its_binary_to_7_digits"),
        (TEXT, "test_row_46_a_blank_at_the_end_of_lines"),
        (HERE, "test_row_46_counts_with_a_blank_at_the_end"),
    ],
    "47 relative paths, `~` and `$VAR`": [
        (HERE, "test_row_47_paths_are_relative_and_not_expanded")
    ],
}
MATRIX = np.arange(12, dtype=np.float32).reshape(4, 3)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current directory, with an archive of which the keys are not sorted."""
    monkeypatch.chdir(tmp_path)
    with ArrayWriter("ark,scp:m.ark,m.scp") as writer:
        for number, key in enumerate("bac"):
            writer.write(key, MATRIX + number)
    return tmp_path


def test_there_are_47_rows():
    assert [int(name.split()[0]) for name in ROWS] == list(range(1, 48))


@pytest.mark.parametrize("row", ROWS)
def test_every_row_has_its_tests(row):
    for file, name in ROWS[row]:
        source = (TESTS / file).read_text(encoding="utf-8")
        assert re.search(rf"^def {name}\(", source, re.M), f"{file} has no {name}"


@pytest.mark.parametrize(
    ("method", "high", "error"), [(4, 3e4, 0.501), (6, 255, 0.501), (7, 1, 0.00197)]
)
def test_row_12_methods_of_a_fixed_range(folder, method, high, error):
    matrix = (np.random.default_rng(1).random((30, 7)) * high).astype(np.float32)
    with ArrayWriter("ark:c.ark", compression=method) as writer:
        writer.write("k", matrix)
    assert np.abs(read_arrays("ark:c.ark")["k"] - matrix).max() < error
    for beyond in (matrix * 2, -matrix * 2):
        with (
            pytest.raises(TableError, match=f"`k` has .*compression method {method} holds"),
            ArrayWriter("ark:d.ark", compression=method) as writer,
        ):
            writer.write("k", beyond)
    assert not Path("d.ark").exists()


def test_row_18_a_gzip_file_is_named_with_the_remedy(folder):
    Path("m.ark.gz").write_bytes(gzip.compress(Path("m.ark").read_bytes()))
    Path("head.gz").write_bytes(b"\x1f\x8b\x08" + bytes(7))
    for source in ("ark:m.ark.gz", "m.ark.gz", "ark:cat m.ark.gz |", "ark:head.gz"):
        with pytest.raises(TableError, match="is compressed") as caught:
            read_arrays(source)
        assert "gunzip -c" in caught.value.hint


def test_row_23_an_unsorted_archive_loses_nothing(folder):
    for source in ("ark,s,cs:m.ark", "ark:m.ark", "ark,cs:cat m.ark |"):
        assert list(read_arrays(source)) == ["b", "a", "c"]
        assert ArrayTable(source)["a"].tolist() == (MATRIX + 1).tolist()


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("with blank.ark", "k with blank.ark:{}\n"),
        ("a:b.ark", "k a:b.ark:{}\n"),
        ("[x].ark", "k [x].ark:{}\n"),
        ("[x] a:b.ark", "k   \t [x] a:b.ark:{} \t \n"),
        ("x.ark", "k\tx.ark:{}\r\n"),
        ("x.ark", "-5 x.ark:{}\n"),
    ],
)
def test_row_25_arrays_at_odd_paths(folder, name, line):
    Path(name).write_bytes(Path("m.ark").read_bytes())
    Path("x.scp").write_bytes(line.format(2).encode())
    (array,) = read_arrays("scp:x.scp").values()
    assert array.tolist() == MATRIX.tolist()
    Path(name).write_bytes(Path("m.ark").read_bytes()[2:])
    Path("x.scp").write_bytes(line.format(0).encode())
    (array,) = read_arrays("scp:x.scp").values()
    assert array.tolist() == MATRIX.tolist()


def test_rows_27_and_28_keys_of_any_bytes_in_archives(folder):
    keys = [b"\xe4", "zä".encode(), "a\xa0b".encode(), "c\u2003d".encode()]
    Path("t.ark").write_bytes(b"".join(key + b" [ 1 2 ]\n" for key in keys))
    arrays = read_arrays("ark:t.ark")
    with ArrayWriter("ark,scp:u.ark,u.scp") as writer:
        for key, array in arrays.items():
            writer.write(key, array)
    lines = Path("u.scp").read_bytes().splitlines()
    assert [line.split(b" ")[0] for line in lines] == sorted(keys)
    assert set(read_arrays("scp:u.scp")) == set(arrays) == set(read_arrays("ark:u.ark"))


def test_row_27_a_byte_order_mark_in_an_archive_is_named(folder):
    Path("t.ark").write_bytes(b"\xef\xbb\xbfutt1 100\nutt2 71\n")
    with pytest.raises(TableError, match="byte order mark"):
        read_scalars("ark:t.ark")


def test_row_28_recordings_named_with_other_blanks(folder):
    recording = "r\xa01"
    data = DataDir.from_tables(
        wav={recording: "x.wav"},
        utt2spk={"s-1": "s"},
        segments={"s-1": (recording, 0, 1)},
    )
    data.write("data")
    assert fix("data").kept == 1
    assert DataDir.load("data").segments["s-1"].recording == recording


def test_row_31_integers_with_and_without_brackets(folder):
    Path("t.ark").write_text("a 1 2\nb [ 1 2 ]\n")
    arrays = read_arrays("ark:t.ark")
    assert [arrays[key].tolist() for key in "ab"] == [[1, 2], [1, 2]]
    assert (arrays["a"].dtype, arrays["b"].dtype) == (np.int32, np.float32)
    with ArrayWriter("ark,t:v.ark") as writer:  # as Kaldi's VAD decisions: floats, in brackets
        writer.write("a", arrays["a"])
    assert Path("v.ark").read_text() == "a  [ 1 2 ]\n"


def test_row_31_the_bounds_of_32_bits(folder):
    Path("t.ark").write_text("a -2147483648 2147483647\n")
    assert read_arrays("ark:t.ark")["a"].tolist() == [-(2**31), 2**31 - 1]
    Path("t.ark").write_text("a 2147483648 1\n")
    with pytest.raises(TableError, match="32 bits"):
        read_arrays("ark:t.ark")


def test_row_43_segments_with_crlf_and_channels(folder):
    DataDir.from_tables(wav={"r": "x.wav"}, utt2spk={"s-1": "s", "s-2": "s"}).write("data")
    Path("data/segments").write_bytes(b"s-1 r 0.5 -1 1\r\ns-2\tr 0 2 \r\n")
    assert [tuple(utt) for utt in DataDir.load("data").recordings()] == [
        ("s-1", "x.wav", 0.5, None, 1),
        ("s-2", "x.wav", 0.0, 2.0, None),
    ]


def test_row_45_plain_trials_with_crlf_and_tabs(folder):
    Path("trials").write_bytes(b"a\tx\r\nb  y \r\n")
    assert list(read_trials("trials").pairs()) == [("a", "x"), ("b", "y")]
    Path("trials").write_bytes(b"a x\n\nb y\n")
    with pytest.raises(TableError, match=":2`: blank line"):
        read_trials("trials")


def test_row_46_counts_with_a_blank_at_the_end(folder):
    Path("num_utts").write_text("a 3 \nb 12 \n")
    assert read_scalars("ark:num_utts") == read_floats("num_utts") == {"a": 3, "b": 12}


def test_row_47_paths_are_relative_and_not_expanded(folder, monkeypatch):
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("PLACE", str(folder))
    (folder / "sub").mkdir()
    for place in ("~/m.ark:2", "$PLACE/m.ark:2", "elsewhere/m.ark:2"):
        Path("sub/x.scp").write_text(f"k {place}\n")
        with pytest.raises(TableError, match=r"`k`.*m\.ark`: no such file"):
            read_arrays("scp:sub/x.scp")
    for place in ("m.ark:2", 'tail -c +3 "$PLACE/m.ark" |', "tail -c +3 ~/m.ark |"):
        Path("sub/x.scp").write_text(f"k {place}\n")
        assert read_arrays("scp:sub/x.scp")["k"].tolist() == MATRIX.tolist()
