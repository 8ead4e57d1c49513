"""A table of recordings becomes a valid data directory."""

from pathlib import Path

import pytest

from sv_cli.corpora.corpus import Job
from sv_cli.corpora.csv_table import CsvSettings, prepare_csv, sniff_delimiter
from sv_cli.errors import TableError
from sv_cli.tables.datadir.directory import validate


def prepare(tmp_path: Path, text: str | bytes, **settings: object):
    source = tmp_path / "list.csv"
    source.write_bytes(text if isinstance(text, bytes) else text.encode())
    job = Job(source, tmp_path / "out", 1, force=True)
    return prepare_csv(job, CsvSettings(**settings))


def lines(tmp_path: Path, name: str) -> list[str]:
    return (tmp_path / "out" / name).read_text(encoding="utf-8").splitlines()


def test_columns_become_tables(tmp_path: Path, record) -> None:
    record("a.wav")
    record("b.wav")
    text = (
        "\ufeffpath;spk;gender;recording place\r\n"
        "recordings/a.wav;s2;female;in the car\r\n"
        '"recordings/b.wav";s1;M;\r\n\r\n'
    )
    result = prepare(tmp_path, text)
    assert (result.done, result.skipped) == (2, 0)
    assert lines(tmp_path, "utt2spk") == ["s1-recordings-b s1", "s2-recordings-a s2"]
    assert lines(tmp_path, "spk2gender") == ["s1 m", "s2 f"]
    assert lines(tmp_path, "utt2recording_place") == ["s2-recordings-a in_the_car"]
    assert lines(tmp_path, "wav.scp")[0] == f"s1-recordings-b {tmp_path}/recordings/b.wav"
    assert not validate(tmp_path / "out")


def test_columns_are_found_by_other_names(tmp_path: Path, record) -> None:
    record("a.wav")
    text = "file\tspeaker\tid\nrecordings/a.wav\tanna\tanna-7\n"
    names = {"path_column": "file", "spk_column": "speaker", "utt_column": "id"}
    prepare(tmp_path, text, **names)
    assert lines(tmp_path, "utt2spk") == ["anna-7 anna"]


def test_starts_and_ends_become_segments(tmp_path: Path, record) -> None:
    record("call.wav", seconds=2.0)
    text = "path,spk,start,end\n" + "".join(
        f"recordings/call.wav,{spk},{start},{end}\n"
        for spk, start, end in (("b", 0.5, 1.25), ("a", 0, 0.5), ("a", 1.5, 2.3), ("a", 1.75, -1))
    )
    result = prepare(tmp_path, text)
    assert (result.done, result.skipped) == (4, 0)
    segments = [line.split() for line in lines(tmp_path, "segments")]
    assert [(row[1], float(row[2]), float(row[3])) for row in segments] == [
        ("call", 0.0, 0.5),
        ("call", 1.5, 2.0),
        ("call", 1.75, 2.0),
        ("call", 0.5, 1.25),
    ]
    assert segments[0][0] == "a-recordings-call-0000000-0000050"
    assert lines(tmp_path, "wav.scp") == [f"call {tmp_path}/recordings/call.wav"]
    assert not validate(tmp_path / "out")


def test_a_segment_behind_the_end_and_a_missing_file_are_skipped(
    tmp_path: Path, record, capsys
) -> None:
    record("a.wav", seconds=1.0)
    text = "path,spk,start,end\nrecordings/a.wav,s,0,0.5\nrecordings/a.wav,s,0.2,9\n"
    result = prepare(tmp_path, text + "recordings/none.wav,s,0,1\n")
    assert (result.done, result.skipped) == (1, 2)
    said = capsys.readouterr().err
    assert "ends at 9 s, its recording at 1 s" in said
    assert "none.wav" in said


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty, not even a header"),
        ("path,spk\n", "no line below the header"),
        ("file,spk\na,b\n", r"list.csv:1`: no column `path`; there are `file`, `spk`"),
        ("path,spks\na,b\n", r"no column `spk` \(did you mean `spks`\?\)"),
        ("path,spk,spk\na,b,c\n", "columns come up twice: `spk`"),
        ("path,spk\na,b,c\n", r"list.csv:2`: 3 columns, the header has 2"),
        ("path,spk\na,\n", r"list.csv:2`: no speaker or no path"),
        ("path,spk,start,end\na,s,x,1\n", "start and end are not numbers"),
        ("path,spk,start,end\na,s,2,1\n", "from 2 to 1.0 s is empty"),
        ("path,spk,gender\nrecordings/a.wav,s,m\nrecordings/b.wav,s,f\n", "`s` has two genders"),
        ("path,spk\nrecordings/a.wav,s\nrecordings/a.wav,s\n", "come up twice"),
    ],
)
def test_wrong_tables_are_named(tmp_path: Path, record, text: str, message: str) -> None:
    record("a.wav")
    record("b.wav")
    with pytest.raises(TableError, match=message):
        prepare(tmp_path, text)


def test_a_column_asked_for_by_name_must_be_there(tmp_path: Path, record) -> None:
    with pytest.raises(TableError, match="no column `sex`"):
        prepare(tmp_path, "path,spk\na,b\n", gender_column="sex")


def test_unknown_genders_are_left_out(tmp_path: Path, record, capsys) -> None:
    record("a.wav")
    prepare(tmp_path, "path,spk,gender\nrecordings/a.wav,s,child\n")
    assert "1 genders are neither m nor f" in capsys.readouterr().err
    assert not (tmp_path / "out/spk2gender").exists()


@pytest.mark.parametrize(
    ("header", "delimiter"),
    [("path,spk", ","), ("a b\tc", "\t"), ("a, b;c;d", ";"), ("path spk", " "), ("path", "\t")],
)
def test_the_delimiter_is_found(header: str, delimiter: str) -> None:
    assert sniff_delimiter(header) == delimiter
