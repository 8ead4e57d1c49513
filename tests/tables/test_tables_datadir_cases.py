"""The 24 directories that Kaldi's validate_data_dir.sh was tried on, and what is said of each.

A case is a sound directory with one change. Kaldi's verdict is ours, with one step more: where
Kaldi complains and still ends with status 0 (case 21), the status is 1.
"""

import pytest
from typer.testing import CliRunner

from sv_cli.cli import app

SOUND = {
    "utt2spk": "a-1 a\na-2 a\nb-1 b\n",
    "spk2utt": "a a-1 a-2\nb b-1\n",
    "wav.scp": "a-1 x.wav\na-2 y.wav\nb-1 sox z.mp3 -t wav - |\n",
    "utt2dur": "a-1 1.5\na-2 2\nb-1 3\n",
    "utt2num_frames": "a-1 148\na-2 198\nb-1 298\n",
    "feats.scp": "a-1 f.ark:4\na-2 f.ark:90\nb-1 f.ark:180\n",
    "vad.scp": "a-1 v.ark:4\na-2 v.ark:90\nb-1 v.ark:180\n",
}
UNSORTED = "a-2 2\na-1 1\nb-1 3\n"
TWICE = "a-1 1\na-1 1\na-2 2\nb-1 3\n"
CUT = {"segments": "a-1 r 0 1\na-2 r 1 {}\nb-1 r 2 3\n", "wav.scp": "r x.wav\n"}


def segments(end):
    return {name: text.format(end) for name, text in CUT.items()}


def in_table(name, change):
    return {name: change(SOUND[name])}


REJECTED = {
    "01 wav.scp unsorted": ({"wav.scp": UNSORTED}, "wav.scp:2`: not sorted"),
    "01 utt2dur infinite": (
        {"utt2dur": "a-1 1.5\na-2 inf\nb-1 3\n"},
        "utt2dur:2`: duration `inf` is not above 0 seconds and finite",
    ),
    "02 utt2dur unsorted": ({"utt2dur": UNSORTED}, "utt2dur:2`: not sorted"),
    "03 wav.scp with a key twice": ({"wav.scp": TWICE}, "wav.scp:2`: key `a-1` is in line 1"),
    "04 utt2dur with a key twice": ({"utt2dur": TWICE}, "utt2dur:2`: key `a-1` is in line 1"),
    "05 utt2spk with CRLF": (
        in_table("utt2spk", lambda text: text.replace("\n", "\r\n")),
        "utt2spk:1`: line ends in CRLF",
    ),
    "06 a blank line": ({"utt2spk": "a-1 a\n\na-2 a\nb-1 b\n"}, "utt2spk:2`: blank line"),
    "07 an utterance too many": (
        in_table("wav.scp", lambda text: text + "c-1 w.wav\n"),
        "wav.scp:4`: recording `c-1` is not in utt2spk",
    ),
    "08 an utterance too few": (
        {"wav.scp": "a-1 x.wav\nb-1 z.wav\n"},
        "wav.scp`: lacks 1 recordings of utt2spk: `a-2`",
    ),
    "09 no spk2utt": ({"spk2utt": None}, "spk2utt`: no such file"),
    "10 spk2utt of other utterances": (
        {"spk2utt": "a a-1\nb a-2 b-1\n"},
        "spk2utt:1`: utterances of speaker `a` are not those of utt2spk",
    ),
    "11 speakers in another order than utterances": (
        {"utt2spk": "a-1 b\na-2 a\nb-1 b\n", "spk2utt": "a a-2\nb a-1 b-1\n"},
        "sorting by utterance does not sort by speaker",
    ),
    "12 vad.scp with fewer lines": ({"vad.scp": "a-1 v.ark:4\n"}, "vad.scp`: lacks 2 utterances"),
    "13 feats.scp with fewer lines": (
        {"feats.scp": "a-1 f.ark:4\n"},
        "feats.scp`: lacks 2 utterances",
    ),
    "14 utt2num_frames below 0": (
        {"utt2num_frames": "a-1 148\na-2 -5\nb-1 298\n"},
        "utt2num_frames:2`: `-5` is not a count",
    ),
    "21 utt2spk of three fields": (
        {"utt2spk": "a-1 a\na-2 a x\nb-1 b\n"},
        "utt2spk:2`: 3 fields, expected 2",
    ),
    "23 a segment that ends before its start": (segments("0.5"), "segments:2`: segment ends at"),
    "24 a path with `~`": (
        in_table("wav.scp", lambda text: text.replace("x.wav", "~/x.wav")),
        "wav.scp:1`: `~` in a path is not expanded",
    ),
}
ACCEPTED = {
    "15 wav.scp with CRLF": in_table("wav.scp", lambda text: text.replace("\n", "\r\n")),
    "16 TAB between fields": {name: text.replace(" ", "\t", 3) for name, text in SOUND.items()},
    "17 blanks at the end of lines": {
        name: text.replace("\n", " \n") for name, text in SOUND.items()
    },
    "18 ids beyond ASCII": {
        name: text.replace("b-1", "ü\xa0-1").replace("b", "ü\xa0")
        for name, text in SOUND.items()
        if name in ("utt2spk", "spk2utt", "utt2dur", "utt2num_frames")
    }
    | {"wav.scp": "a-1 x.wav\na-2 y.wav\nü\xa0-1 z.wav\n", "feats.scp": None, "vad.scp": None},
    "19 files that are not known": {"trials": "what ever\n\n", "conf.tmp": "\0"},
    "20 no feats.scp": {"feats.scp": None, "vad.scp": None, "utt2num_frames": None},
    "22 one speaker alone": {
        "utt2spk": "a-1 a\na-2 a\nb-1 a\n",
        "spk2utt": "a a-1 a-2 b-1\n",
    },
}


@pytest.fixture
def validate(tmp_path):
    """Write the sound directory with a change, validate it; `None` is a file that is not there."""

    def write_and_validate(change):
        for name, text in (SOUND | change).items():
            if text is not None:
                (tmp_path / name).write_bytes(text.encode())
        return CliRunner().invoke(app, ["data", "validate", str(tmp_path)])

    return write_and_validate


def test_there_are_24_cases():
    numbers = sorted(int(name.split()[0]) for name in (*REJECTED, *ACCEPTED))
    assert sorted(set(numbers)) == list(range(1, 25))


@pytest.mark.parametrize("case", REJECTED)
def test_what_kaldi_rejects_is_rejected_with_its_line(case, validate):
    change, message = REJECTED[case]
    result = validate(change)
    assert result.exit_code == 1
    assert message in result.stdout


@pytest.mark.parametrize("case", ACCEPTED)
def test_what_kaldi_accepts_is_accepted(case, validate):
    result = validate(ACCEPTED[case])
    assert (result.exit_code, result.stdout) == (0, "")


@pytest.mark.parametrize("end", ["2", "-1", "2 1"])
def test_segments_may_end_with_the_recording_and_name_a_channel(end, validate):
    assert validate(segments(end)).exit_code == 0
