"""Recordings by path, pipe, archive offset and segment; rows 36 to 44 of what Kaldi reads."""

import signal
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sv_cli.audio import notices
from sv_cli.audio.codec import recode
from sv_cli.audio.info import audio_info
from sv_cli.audio.read import read_chosen_span, read_waveform
from sv_cli.audio.recording import open_bytes
from sv_cli.audio.write import encode_waveform
from sv_cli.errors import AudioError, TableError

RATE = 16000
SAMPLES = (np.random.default_rng(0).standard_normal(2 * RATE) * 3000).astype(np.int16)
EXPECTED = SAMPLES.astype(np.float32) / 32768


@pytest.fixture(autouse=True)
def nothing_said(monkeypatch):
    monkeypatch.setattr(notices, "_said", set())


@pytest.fixture
def folder(tmp_path):
    for name in ("a.wav", "a.flac", "a.ogg"):
        soundfile.write(tmp_path / name, SAMPLES, RATE)
    soundfile.write(tmp_path / "a.mp3", EXPECTED, RATE)
    soundfile.write(tmp_path / "a.opus", EXPECTED, RATE, format="OGG", subtype="OPUS")
    return tmp_path


def span_of(rx, start, count):
    return read_chosen_span(rx, lambda info: (start, min(count, info.num_samples)))


@pytest.mark.parametrize("name", ["a.wav", "a.flac"])
def test_lossless_forms_have_one_scale(name, folder):
    waveform, rate = read_waveform(str(folder / name))  # row 39
    assert rate == RATE
    assert waveform.dtype == np.float32
    np.testing.assert_array_equal(waveform, EXPECTED)


@pytest.mark.parametrize("name", ["a.ogg", "a.opus", "a.mp3"])
def test_lossy_forms_have_the_same_scale(name, folder):
    waveform, _ = read_waveform(str(folder / name))
    assert abs(len(waveform) - len(EXPECTED)) < 2000
    assert 0.3 < np.std(waveform) / np.std(EXPECTED) < 1.2


@pytest.mark.parametrize("name", ["a.wav", "a.flac"])
def test_a_pipe_reads_as_the_file(name, folder):
    waveform, _ = read_waveform(f"cat {folder / name} |")
    np.testing.assert_array_equal(waveform, EXPECTED)
    assert audio_info(f"cat {folder / name} |").num_samples == len(SAMPLES)


def test_a_pipe_that_fails_is_an_error(folder):
    with pytest.raises(AudioError, match="failed with status 3"):
        read_waveform(f"cat {folder / 'a.wav'}; exit 3 |")
    with pytest.raises(AudioError, match="failed with status"):
        read_waveform("cat /nonexistent/a.wav 2>/dev/null |")
    with pytest.raises(AudioError, match="is empty"):
        read_waveform("true |")


def test_pipes_can_be_refused(folder, monkeypatch):
    monkeypatch.setenv("SVTOOL_NO_PIPES", "1")
    with pytest.raises(TableError, match="refused"):
        read_waveform(f"cat {folder / 'a.wav'} |")


def test_an_entry_of_an_archive(folder):
    parts = b""
    offsets = {}
    for key, name in (("u1", "a.wav"), ("u2", "a.flac"), ("u3", "a.wav")):
        parts += key.encode() + b" "
        offsets[key] = len(parts)
        parts += (folder / name).read_bytes()
    ark = folder / "wav.ark"
    ark.write_bytes(parts)
    for key in ("u1", "u3"):  # row 44
        waveform, _ = read_waveform(f"{ark}:{offsets[key]}")
        np.testing.assert_array_equal(waveform, EXPECTED)
        span = span_of(f"{ark}:{offsets[key]}", 100, 50)
        np.testing.assert_array_equal(span, EXPECTED[100:150])
    assert audio_info(f"{ark}:{offsets['u3']}").num_samples == len(SAMPLES)


def test_a_name_that_looks_like_an_offset_is_a_file(folder):
    path = folder / "a:12"
    path.write_bytes((folder / "a.wav").read_bytes())
    np.testing.assert_array_equal(read_waveform(str(path))[0], EXPECTED)
    path = folder / "with blank [x].wav"
    path.write_bytes((folder / "a.wav").read_bytes())
    np.testing.assert_array_equal(read_waveform(str(path))[0], EXPECTED)


def test_audio_root(folder):
    np.testing.assert_array_equal(read_waveform("a.wav", audio_root=folder)[0], EXPECTED)
    absolute = str(folder / "a.wav")
    np.testing.assert_array_equal(read_waveform(absolute, audio_root="/else")[0], EXPECTED)
    with pytest.raises(AudioError, match="no such recording") as raised:
        read_waveform("b.wav", audio_root=folder)
    assert "--audio-root" in raised.value.hint
    with pytest.raises(AudioError, match="Is a directory"):
        read_waveform(str(folder))


SEGMENTS = {  # row 43: start, end, first sample, one after the last
    "inside": (0.5, 1.5, 8000, 24000),
    "to the end": (1.0, -1, 16000, 32000),
    "overshoot is cut": (1.0, 2.49, 16000, 32000),
    "just long enough": (0.0, 0.11, 0, 1760),
    "start alone": (0.5, None, 8000, 32000),
    "end alone": (None, 1.0, 0, 16000),
}
WRONG_SEGMENTS = {
    "far past the end": (0.5, 2.6, "past the end"),
    "half a second past the end": (0.5, 2.5, "past the end"),
    "too short": (0.5, 0.55, "not longer than 0.1 s"),
    "exactly the least": (0.0, 0.1, "not longer than 0.1 s"),
    "backwards": (1.5, 0.5, "not longer than 0.1 s"),
    "starts after the end": (2.0, -1, "does not start in"),
    "starts before the beginning": (-0.5, 1.0, "does not start in"),
}


@pytest.mark.parametrize("name", ["a.wav", "a.flac"])
@pytest.mark.parametrize("case", SEGMENTS)
def test_segments(case, name, folder):
    start, end, first, last = SEGMENTS[case]
    waveform, _ = read_waveform(str(folder / name), start=start, end=end)
    np.testing.assert_array_equal(waveform, EXPECTED[first:last])


@pytest.mark.parametrize("case", WRONG_SEGMENTS)
def test_segments_that_do_not_fit(case, folder):
    start, end, message = WRONG_SEGMENTS[case]
    with pytest.raises(AudioError, match=message) as raised:
        read_waveform(str(folder / "a.wav"), start=start, end=end)
    assert "segments" in raised.value.hint


def test_segments_are_those_of_kaldi(shared):
    kaldi = shared / "golden" / "kaldi"
    lines = (kaldi / "lists" / "segments").read_text().splitlines()
    expected = dict(
        line.split() for line in (kaldi / "lists" / "segments-wav.scp").read_text().splitlines()
    )
    seen = set()
    for line in lines:
        utt, reco, start, end = line.split()
        try:
            waveform, _ = read_waveform(
                f"wav/{reco}.wav", start=float(start), end=float(end), audio_root=kaldi
            )
        except AudioError:
            continue
        seen.add(utt)
        np.testing.assert_array_equal(read_waveform(expected[utt], audio_root=kaldi)[0], waveform)
    assert seen == set(expected)


def test_another_rate_is_resampled_and_said_once(tmp_path, capsys):
    seconds = np.arange(8000) / 8000
    soundfile.write(tmp_path / "a.wav", 0.5 * np.sin(2 * np.pi * 500 * seconds), 8000)
    for _ in range(2):
        waveform, rate = read_waveform(str(tmp_path / "a.wav"))  # row 42
    assert (rate, len(waveform)) == (16000, 16000)
    expected = 0.5 * np.sin(2 * np.pi * 500 * np.arange(16000) / 16000)
    np.testing.assert_allclose(waveform[500:-500], expected[500:-500], atol=2e-3)
    assert capsys.readouterr().err.count("8000 Hz are resampled to 16000 Hz") == 1
    kept, rate = read_waveform(str(tmp_path / "a.wav"), sample_rate=None)
    assert (rate, len(kept)) == (8000, 8000)


@pytest.mark.parametrize("name", ["a.wav", "a.flac"])
def test_a_span_is_that_part_of_the_whole(name, folder):
    rx = str(folder / name)
    np.testing.assert_array_equal(span_of(rx, 0, 10), EXPECTED[:10])
    np.testing.assert_array_equal(span_of(rx, 12345, 3200), EXPECTED[12345 : 12345 + 3200])
    np.testing.assert_array_equal(span_of(rx, 31990, 100), EXPECTED[31990:])
    np.testing.assert_array_equal(span_of(f"cat {rx} |", 500, 7), EXPECTED[500:507])
    with pytest.raises(AudioError, match="no samples from sample 40000 on; it holds 32000"):
        span_of(rx, 40000, 10)


@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_a_span_does_not_decode_the_whole_file(suffix, tmp_path, monkeypatch):
    path = tmp_path / f"long.{suffix}"
    soundfile.write(path, np.tile(SAMPLES, 30), RATE)
    counts = []
    from sv_cli.audio import recording, wav

    for kind in (recording.SoundFileRecording, wav.WavRecording):
        read = kind.read
        monkeypatch.setattr(
            kind, "read", lambda self, a, n, c, read=read: counts.append(n) or read(self, a, n, c)
        )
    span = span_of(str(path), 800000, 32000)
    np.testing.assert_array_equal(span, EXPECTED)
    assert counts == [32000]


def test_collected_notices_are_not_said(capsys):
    with notices.collect() as messages:
        notices.say_once("x")
        notices.say_once("x")
    assert messages == {"x"}
    assert capsys.readouterr().err == ""


def test_standard_input(folder, monkeypatch):
    with Path(folder / "a.wav").open("rb") as stream:
        monkeypatch.setattr(sys, "stdin", type("Input", (), {"buffer": stream}))
        np.testing.assert_array_equal(read_waveform("-")[0], EXPECTED)


def test_a_flac_file_cut_short_is_said(folder, capsys):
    data = (folder / "a.flac").read_bytes()
    (folder / "cut.flac").write_bytes(data[: len(data) // 2])
    try:
        waveform, _ = read_waveform(str(folder / "cut.flac"))
    except AudioError as error:
        assert "cut.flac" in error.message
    else:
        assert 0 < len(waveform) < len(EXPECTED)
        assert "breaks off" in capsys.readouterr().err


@pytest.mark.parametrize(("length", "channels"), [(300, 1), (4097, 1), (50000, 2)])
def test_a_flac_header_that_claims_half_the_samples_is_refused(tmp_path, length, channels):
    draw = np.random.default_rng(3)
    path = tmp_path / "half.flac"
    soundfile.write(path, draw.integers(-3000, 3000, (length, channels)).astype(np.int16), 16000)
    assert len(read_waveform(str(path), channel=0)[0]) == length
    data = bytearray(path.read_bytes())
    half = length // 2
    data[21], data[22:26] = data[21] & 0xF0, half.to_bytes(4, "big")
    path.write_bytes(data)
    for rx in (str(path), f"cat {path} |"):
        with pytest.raises(AudioError, match=f"claims {half} samples, {length - half} more follow"):
            read_waveform(rx, channel=0)
    path.write_bytes(data + b"TAG of something else")
    assert len(read_waveform(str(path), channel=0)[0]) == half


@pytest.mark.parametrize("rate", [1, 999, 768001])
@pytest.mark.parametrize("suffix", ["wav", "au"])
def test_a_rate_of_no_recording_is_refused(rate, suffix, tmp_path):
    path = tmp_path / f"a.{suffix}"
    soundfile.write(path, SAMPLES, rate)
    with pytest.raises(AudioError, match=f"a sampling rate of {rate} Hz; 1000 to 768000 are read"):
        read_waveform(str(path))


@pytest.mark.parametrize("end", [float("nan"), float("inf"), -float("inf"), 1e400, 1e305])
def test_a_segment_that_is_not_finite_is_refused(end, folder):
    for bounds in ({"end": end}, {"start": end}):
        with pytest.raises(AudioError, match="is not finite"):
            read_waveform(str(folder / "a.wav"), **bounds)


class Stop(BaseException):
    """What the handler of a signal raises."""


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("work", ["read", "write", "codec"])
def test_no_signal_is_lost_inside_libsndfile(work, folder):
    """Given a stream of Python, libsndfile swallows a third of them in its callbacks.

    A finalizer of Python may swallow one.
    """
    data = (folder / "a.flac").read_bytes()

    def once():
        if work == "write":
            encode_waveform(EXPECTED, RATE, format="flac")
        elif work == "codec":
            recode(EXPECTED[:RATE], RATE, "adpcm")
        else:
            with open_bytes(data, name="a") as recording:
                recording.read(0, len(SAMPLES), 0)

    def stop(number, frame):
        raise Stop

    previous = signal.signal(signal.SIGALRM, stop)
    raised = 0
    try:
        for number in range(40):
            deadline = time.monotonic() + 1
            try:
                signal.setitimer(signal.ITIMER_REAL, 0.0005 * (number % 10 + 1))
                while time.monotonic() < deadline:
                    once()
            except Stop:
                raised += 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
    assert raised >= 36


def test_a_streamed_flac_is_refused_in_words(folder):
    data = bytearray((folder / "a.flac").read_bytes())
    data[21] &= 0xF0  # the number of samples of its header: 36 bits
    data[22:26] = bytes(4)
    (folder / "streamed.flac").write_bytes(data)
    with pytest.raises(AudioError, match=r"its header gives no length \(streamed\)"):
        read_waveform(str(folder / "streamed.flac"))
