"""Data directories: what Kaldi's utils/*_data_dir.sh check and do."""

import numpy as np
import pytest

from sv_cli.errors import TableError
from sv_cli.tables.datadir.directory import DataDir, Segment, validate
from sv_cli.tables.datadir.edit import (
    between_durations,
    combine,
    copy,
    filter_data,
    prefix_speakers,
    restrict,
    split,
    subset,
    with_enough_utterances,
)
from sv_cli.tables.datadir.fix import fix, info

UTT2SPK = {f"s{spk}-u{utt}": f"s{spk}" for spk in range(4) for utt in range(3)}


def write(path, **tables):
    path.mkdir(exist_ok=True)
    for name, content in tables.items():
        raw = content if isinstance(content, bytes) else content.encode()
        (path / name.replace("_", ".")).write_bytes(raw)


@pytest.fixture
def data(tmp_path):
    """Four speakers of three utterances."""
    made = DataDir(
        wav={utt: f"{utt}.wav" for utt in UTT2SPK},
        utt2spk=dict(UTT2SPK),
        utt2dur={utt: 1.0 + number / 4 for number, utt in enumerate(UTT2SPK)},
        extra={
            "text": dict.fromkeys(UTT2SPK, "hello there"),
            "spk2gender": {"s0": "m", "s1": "f", "s2": "f", "s3": "m"},
        },
    )
    made.write(tmp_path / "data")
    return tmp_path / "data"


@pytest.fixture
def segmented(tmp_path):
    write(
        tmp_path / "seg",
        wav_scp="r1 a.wav\nr2 sox b.mp3 -t wav - |\n",
        segments="s1-a r1 0.5 1.25\ns1-b r1 2 -1\ns2-a r2 0 3 1\n",
        utt2spk="s1-a s1\ns1-b s1\ns2-a s2\n",
        spk2utt="s1 s1-a s1-b\ns2 s2-a\n",
    )
    return tmp_path / "seg"


def messages(path, **options):
    return "\n".join(str(problem) for problem in validate(path, **options))


def test_a_sound_directory_has_no_problems(data, segmented):
    assert not validate(data)
    assert not validate(segmented)


def test_load_and_write_are_inverse(data, tmp_path):
    DataDir.load(data, extra=True).write(tmp_path / "copy")
    for path in data.iterdir():
        assert (tmp_path / "copy" / path.name).read_bytes() == path.read_bytes()


def test_recordings_of_segments(segmented):
    one, two, three = DataDir.load(segmented).recordings()
    assert one == ("s1-a", "a.wav", 0.5, 1.25, None)
    assert two == ("s1-b", "a.wav", 2.0, None, None)
    assert three == ("s2-a", "sox b.mp3 -t wav - |", 0.0, 3.0, 1)


def test_a_missing_recording_is_named(data):
    (data / "wav.scp").write_text("s0-u0 x\n")
    with pytest.raises(TableError, match=r"wav.scp` lacks 11: `s0-u1`"):
        DataDir.load(data).recordings()


@pytest.mark.parametrize(
    ("name", "content", "line", "message"),
    [
        ("utt2spk", "s0-u1 s0\ns0-u0 s0\n", 2, "not sorted"),
        ("utt2spk", "s0-u0 s0\ns0-u0 s0\n", 2, "is in line 1 already"),
        ("utt2spk", "s0-u0 s0 x\n", 1, "3 fields, expected 2"),
        ("utt2spk", "s0-u0 s0\n\ns0-u1 s0\n", 2, "blank line"),
        ("utt2spk", "s0-u0 s0\r\n", 1, "CRLF"),
        ("utt2spk", "\ufeffs0-u0 s0\n", 1, "byte order mark"),
        ("utt2spk", "s0-u0 s0", 1, "no line end"),
        ("utt2spk", "s0-u0 s1\ns0-u1 s0\n", 2, "does not sort by speaker"),
        ("spk2utt", "s0 s0-u0\n", 1, "not those of utt2spk"),
        ("spk2utt", "", None, "lacks 4 speakers"),
        ("wav.scp", "s0-u0 ~/x.wav\n", 1, "not expanded"),
        ("wav.scp", "s0-u0\n", 1, "no value"),
        ("wav.scp", "a-u0 x\n", 1, "`a-u0` is not in utt2spk"),
        ("wav.scp", "s0-u0 x\n", None, "lacks 11 recordings"),
        ("utt2dur", "s0-u0 -1\n", 1, "not above 0"),
        ("utt2dur", "s0-u0 1e\n", 1, "not above 0"),
        ("utt2num_frames", "s0-u0 -5\n", 1, "not a count"),
        ("spk2gender", "s0 x\n", 1, "not m or f"),
        ("feats.scp", "s0-u0 x:1\n", None, "lacks 11 utterances"),
        ("segments", "s0-u0 s0-u0 2 1\n", 1, "not after its start"),
        ("segments", "s0-u0 s0-u0 2\n", 1, "3 fields, expected 4 to 5"),
        ("segments", "s0-u0 elsewhere 1 2\n", None, "lacks 1 recordings of segments"),
    ],
)
def test_problems_have_file_line_and_remedy(data, name, content, line, message):
    (data / name).write_bytes(content.encode())
    found = [p for p in validate(data) if message in p.message and p.file == str(data / name)]
    if name == "segments" and line is None:
        found = [p for p in validate(data) if message in p.message]
    assert found, messages(data)
    assert found[0].line == line


def test_all_problems_are_told_at_once(data):
    (data / "utt2spk").write_text("b s\na s\n")
    (data / "spk2gender").write_text("q z\n")
    text = messages(data)
    for part in ("not sorted", "`q` is not in utt2spk", "not m or f", "wav.scp:1`", "text:10`"):
        assert part in text
    assert len(validate(data)) < 100


def test_many_problems_of_one_kind_are_counted(data):
    (data / "utt2spk").write_text("\n" * 1000)
    assert "990 more lines of this kind" in messages(data)


def test_what_kaldi_accepts(data):
    (data / "wav.scp").write_text("".join(f"{utt}\tx y \n" for utt in UTT2SPK))
    (data / "trials").write_text("what ever\n\n")
    (data / "utt2age").write_text("s0-u0 44\n")
    assert not validate(data)


def test_missing_files_are_found_when_asked(data, tmp_path):
    (tmp_path / "s0-u0.wav").touch()
    wav = "".join(f"{utt} {tmp_path}/{utt}.wav\n" for utt in list(UTT2SPK)[:2])
    (data / "wav.scp").write_text(wav)
    assert "s0-u1.wav`: no such file" in messages(data, check_files=True)
    assert "s0-u0.wav`" not in messages(data, check_files=True)


def test_not_a_directory(tmp_path):
    assert "no such data directory" in messages(tmp_path / "x")
    with pytest.raises(TableError, match="no such data directory"):
        DataDir.load(tmp_path / "x")
    (tmp_path / "empty").mkdir()
    with pytest.raises(TableError, match="no utterances"):
        DataDir.load(tmp_path / "empty")
    assert validate(tmp_path / "empty")


def test_fix_mends_what_validate_finds(data, capsys):
    (data / "utt2spk").write_bytes(
        b"\xef\xbb\xbfs1-u0 s1\r\ns0-u1 s0\ns0-u0 s0\n\ns0-u0 s9\nlone\nz-u z\n"
    )
    (data / "utt2dur").write_text("s0-u0 1\n")
    (data / "cmvn.scp").write_text("s0 x\nq y\n")
    result = fix(data)
    assert (result.kept, result.dropped) == (3, 1)
    assert not validate(data)
    assert (data / "utt2spk").read_text() == "s0-u0 s0\ns0-u1 s0\ns1-u0 s1\n"
    assert (data / "spk2utt").read_text() == "s0 s0-u0 s0-u1\ns1 s1-u0\n"
    assert (data / "cmvn.scp").read_text() == "s0 x\n"
    assert not (data / "utt2dur").exists()
    assert (data / ".backup" / "utt2dur").exists()
    assert "key that was there already" in capsys.readouterr().err
    again = {path.name: path.read_bytes() for path in data.iterdir() if path.is_file()}
    assert fix(data).dropped == 0
    assert {p.name: p.read_bytes() for p in data.iterdir() if p.is_file()} == again
    assert (data / ".backup" / "utt2spk").read_bytes().startswith(b"\xef\xbb\xbf")
    assert (data / ".backup.2" / "utt2spk").read_bytes() == again["utt2spk"]


def test_fix_drops_what_segments_cannot_cut(segmented):
    (segmented / "wav.scp").write_text("r1 a.wav\nr9 b.wav\n")
    assert fix(segmented).dropped == 1
    assert (segmented / "wav.scp").read_text() == "r1 a.wav\n"
    assert not validate(segmented)


def test_fix_says_what_it_cannot_do(data):
    (data / "utt2spk").write_text("s0-u0 s1\ns0-u1 s0\n")
    with pytest.raises(TableError, match="does not sort by speaker"):
        fix(data)
    (data / "utt2spk").write_text("q q\n")
    with pytest.raises(TableError, match="no utterance remains"):
        fix(data)


def test_info_counts(data):
    facts = info(data)
    assert (facts["utterances"], facts["speakers"], facts["problems"]) == (12, 4, 0)
    assert facts["hours"] == pytest.approx(sum(1 + n / 4 for n in range(12)) / 3600, abs=1e-4)


def test_restrict_follows_recordings_and_speakers(segmented):
    data = restrict(DataDir.load(segmented, extra=True), ["s2-a"])
    assert list(data.wav) == ["r2"]
    assert data.spk2utt == {"s2": ["s2-a"]}
    with pytest.raises(TableError, match="no utterance is left"):
        restrict(data, ["x"])


@pytest.mark.parametrize(
    ("how", "count", "utts"),
    [
        ("first", 2, ["s0-u0", "s0-u1"]),
        ("last", 2, ["s3-u1", "s3-u2"]),
        ("shortest", 2, ["s0-u0", "s0-u1"]),
        ("spread", 3, ["s0-u2", "s2-u0", "s3-u1"]),
        ("per-speaker", 1, ["s0-u1", "s1-u1", "s2-u1", "s3-u1"]),
        ("speakers", 5, ["s1-u0", "s1-u1", "s1-u2", "s3-u0", "s3-u1", "s3-u2"]),
    ],
)
def test_subsets(data, tmp_path, how, count, utts):
    part = subset(DataDir.load(data, extra=True), count, how=how)
    assert part.utts == utts
    part.write(tmp_path / "part")
    assert not validate(tmp_path / "part")


def test_a_subset_is_not_larger_than_the_whole(data):
    with pytest.raises(TableError, match="only 12 there"):
        subset(DataDir.load(data), 13)


@pytest.mark.parametrize(("parts", "per_utt"), [(1, False), (3, False), (4, False), (5, True)])
def test_parts_join_to_the_whole(data, tmp_path, parts, per_utt):
    whole = DataDir.load(data, extra=True)
    pieces = split(whole, parts, per_utt=per_utt)
    sizes = [len(piece.utts) for piece in pieces]
    assert max(sizes) - min(sizes) <= (1 if per_utt else 3)
    if not per_utt:
        speakers = [spk for piece in pieces for spk in piece.speakers]
        assert speakers == whole.speakers
    combine(pieces).write(tmp_path / "joined")
    for path in data.iterdir():
        assert (tmp_path / "joined" / path.name).read_bytes() == path.read_bytes()


def test_too_many_parts(data):
    with pytest.raises(TableError, match="4 speakers cannot be split into 5"):
        split(DataDir.load(data), 5)


def test_combine_makes_segments_and_leaves_out_what_is_not_everywhere(data, segmented, capsys):
    joined = combine([DataDir.load(data, extra=True), DataDir.load(segmented, extra=True)])
    assert joined.segments["s0-u1"] == Segment("s0-u1", 0.0, 1.25)
    assert joined.segments["s2-a"] == Segment("r2", 0.0, 3.0, 1)
    assert joined.utt2dur is None
    assert "`spk2gender`, `text`" in capsys.readouterr().err


def test_combine_refuses_two_values_for_one_key(data):
    one = DataDir.load(data)
    other = DataDir.load(data)
    other.wav["s0-u0"] = "else.wav"
    with pytest.raises(TableError, match=r"1 keys of wav.scp have two values: `s0-u0`"):
        combine([one, other])


def test_copy_renames_everything(data, tmp_path):
    part = copy(DataDir.load(data, extra=True), spk_prefix="x-", utt_prefix="x-", utt_suffix="-z")
    assert part.utts[0] == "x-s0-u0-z"
    assert part.wav["x-s0-u0-z"] == "s0-u0.wav"
    assert part.extra["spk2gender"]["x-s0"] == "m"
    assert part.extra["utt2uniq"]["x-s0-u0-z"] == "s0-u0"
    part.write(tmp_path / "part")
    assert not validate(tmp_path / "part")


def test_speakers_become_prefixes(tmp_path):
    data = DataDir(wav={"u1": "a", "u2": "b"}, utt2spk={"u1": "s2", "u2": "s1"})
    renamed = prefix_speakers(data)
    assert renamed.utt2spk == {"s2-u1": "s2", "s1-u2": "s1"}
    renamed.write(tmp_path / "d")
    assert not validate(tmp_path / "d")


def test_filters(data):
    whole = DataDir.load(data, extra=True)
    assert filter_data(whole, utts=["s1-u0"]).utts == ["s1-u0"]
    assert filter_data(whole, speakers=["s1"]).speakers == ["s1"]
    assert filter_data(whole, speakers=["s1"], exclude=True).speakers == ["s0", "s2", "s3"]
    with pytest.raises(TableError, match="lacks 1 utterances: `q`"):
        filter_data(whole, utts=["s1-u0", "q"])
    assert len(between_durations(whole, 2.0, 3.0).utts) == 5
    few = restrict(whole, [*whole.utts[:4]])
    assert with_enough_utterances(few, 2).speakers == ["s0"]


def test_replacing_removes_tables_of_before(data, segmented):
    DataDir.load(data).write(segmented, replace=True)
    assert not (segmented / "segments").exists()
    assert not validate(segmented)


def test_keys_of_any_bytes_keep_their_order(tmp_path):
    names = ["s-\udce4", "s-ä", "s-a", "s-Z", "s-\u4e2d", "s-\U0001f600"]
    DataDir(wav=dict.fromkeys(names, "x"), utt2spk=dict.fromkeys(names, "s")).write(tmp_path / "d")
    assert not validate(tmp_path / "d")
    assert DataDir.load(tmp_path / "d").utts == sorted(
        names, key=lambda name: name.encode("utf-8", "surrogateescape")
    )


def test_the_real_directories_are_sound(shared, monkeypatch):
    monkeypatch.chdir(shared / "data")
    for name in ("train", "dev"):
        assert not validate(f"data/{name}", check_files=True)
    data = DataDir.load("data/dev")
    assert len(data.recordings()) == 500
    assert np.isclose(sum(data.utt2dur.values()) / 3600, 0.575, atol=1e-3)
