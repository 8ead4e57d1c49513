"""WAVE files as they really come: rows 32 to 38 of the table of what Kaldi reads."""

import io
import struct

import numpy as np
import pytest
import soundfile

from sv_cli.audio.info import audio_info
from sv_cli.audio.read import read_waveform
from sv_cli.audio.wav import decode, read_header
from sv_cli.errors import AudioError

SAMPLES = (np.sin(np.arange(800) * 0.05) * 20000).astype(np.int16)
EXPECTED = SAMPLES.astype(np.float32) / 32768


def wav_bytes(
    data,
    *,
    codec=1,
    channels=1,
    rate=16000,
    bits=16,
    data_size=None,
    riff_size=None,
    order="<",
    before=b"",
    after=b"",
    extensible=False,
):
    """Build a WAVE file by hand, right or wrong."""
    block = channels * bits // 8
    fmt = struct.pack(
        order + "HHIIHH", 0xFFFE if extensible else codec, channels, rate, rate * block, block, bits
    )
    if extensible:
        guid = struct.pack(order + "H", codec) + bytes.fromhex("000000001000800000aa00389b71")
        fmt += struct.pack(order + "HHI", 22, bits, 0) + guid
    size = len(data) if data_size is None else data_size
    body = b"WAVE" + b"fmt " + struct.pack(order + "I", len(fmt)) + fmt + before
    body += b"data" + struct.pack(order + "I", size) + data + after
    riff = len(body) if riff_size is None else riff_size
    return (b"RIFX" if order == ">" else b"RIFF") + struct.pack(order + "I", riff) + body


def listing(size=26):
    return b"LIST" + struct.pack("<I", size) + b"x" * (size + size % 2)


@pytest.fixture
def read(tmp_path):
    """Write bytes to a file and read it as a recording."""

    def write_and_read(data, **options):
        path = tmp_path / "a.wav"
        path.write_bytes(data)
        return read_waveform(str(path), **options)[0]

    return write_and_read


PCM = SAMPLES.tobytes()
# row 32: what Kaldi reads too
READABLE = {
    "plain": wav_bytes(PCM),
    "extensible": wav_bytes(PCM, extensible=True),
    "list before": wav_bytes(PCM, before=listing()),
    "odd list before": wav_bytes(PCM, before=listing(13)),
    "list after": wav_bytes(PCM, after=listing()),
    "odd size": wav_bytes(PCM + b"\1", after=b"\0"),
    "wrong riff size": wav_bytes(PCM, riff_size=77),
    "zero riff size": wav_bytes(PCM, riff_size=0),
    # row 35: big-endian
    "rifx": wav_bytes(SAMPLES.astype(">i2").tobytes(), order=">"),
    # rows 36 and 37: streamed headers
    "zero length": wav_bytes(PCM, data_size=0, riff_size=0),
    "zero length, riff 36": wav_bytes(PCM, data_size=0, riff_size=36),
    "ffmpeg pipe": wav_bytes(PCM, data_size=0xFFFFFFFF, riff_size=0xFFFFFFFF),
    "sox pipe": wav_bytes(PCM, data_size=0x7FFFF000, riff_size=0x7FFFF024),
    "ffmpeg pipe with list": wav_bytes(PCM, data_size=0xFFFFFFFF, before=listing()),
    # row 38: what lies behind the length in the header is no sound
    "shorter header": wav_bytes(PCM, after=PCM[:100]),
    # rows 33 and 34: formats that Kaldi refuses, on the same scale
    "24 bit": wav_bytes((SAMPLES.astype("<i4") << 8).tobytes(), bits=32),
    "float 64": wav_bytes(EXPECTED.astype("<f8").tobytes(), codec=3, bits=64),
    "float 32": wav_bytes(EXPECTED.tobytes(), codec=3, bits=32),
    "float 32 extensible": wav_bytes(EXPECTED.tobytes(), codec=3, bits=32, extensible=True),
}
READABLE["24 bit"] = wav_bytes(
    (SAMPLES.astype("<i4") << 8).view(np.uint8).reshape(-1, 4)[:, :3].tobytes(), bits=24
)
READABLE["32 bit"] = wav_bytes((SAMPLES.astype("<i4") << 16).tobytes(), bits=32)


@pytest.mark.parametrize("name", READABLE)
def test_every_form_comes_to_the_same_samples(name, read):
    np.testing.assert_array_equal(read(READABLE[name]), EXPECTED)


@pytest.mark.parametrize("name", [name for name in READABLE if "length" in name or "pipe" in name])
def test_streamed_headers_through_a_pipe(name, tmp_path):
    (tmp_path / "a.wav").write_bytes(READABLE[name])
    np.testing.assert_array_equal(read_waveform(f"cat {tmp_path}/a.wav |")[0], EXPECTED)


def test_a_header_longer_than_the_file_is_read_to_the_end_and_said(read, capsys):
    np.testing.assert_array_equal(read(wav_bytes(PCM, data_size=99999)), EXPECTED)
    assert "ends before the length in its header" in capsys.readouterr().err


@pytest.mark.parametrize("subtype", ["PCM_U8", "ULAW", "ALAW"])
def test_eight_bit_forms_agree_with_libsndfile(subtype, read, tmp_path):
    path = tmp_path / "b.wav"
    soundfile.write(path, EXPECTED, 16000, subtype=subtype)
    expected = soundfile.read(path, dtype="float32")[0]
    np.testing.assert_array_equal(read(path.read_bytes()), expected)
    np.testing.assert_allclose(expected, EXPECTED, atol=0.02)


@pytest.mark.parametrize("codec", [6, 7])
def test_every_code_of_g711(codec, tmp_path):
    data = wav_bytes(bytes(range(256)), codec=codec, bits=8)
    expected = soundfile.read(io.BytesIO(data), dtype="float32")[0]
    stream = io.BytesIO(data)
    header = read_header(stream, name="x")
    np.testing.assert_array_equal(decode(stream.read(), header), expected)


def test_samples_beyond_one_are_kept(read):
    loud = np.array([1.5, -1.5, 0.5], np.float32)  # row 40
    np.testing.assert_array_equal(read(wav_bytes(loud.tobytes(), codec=3, bits=32)), loud)


def test_channels(read, capsys):
    stereo = np.stack([SAMPLES, -SAMPLES], axis=1)  # row 41
    data = wav_bytes(stereo.tobytes(), channels=2)
    np.testing.assert_array_equal(read(data), EXPECTED)
    np.testing.assert_array_equal(read(data), EXPECTED)
    assert capsys.readouterr().err.count("the first is taken") == 1
    np.testing.assert_array_equal(read(data, channel=1), -EXPECTED)
    with pytest.raises(AudioError, match="has no channel 2: it has 2"):
        read(data, channel=2)
    wide = (stereo.astype("<i4") << 8).view(np.uint8).reshape(-1, 4)[:, :3]
    np.testing.assert_array_equal(
        read(wav_bytes(wide.tobytes(), channels=2, bits=24), channel=1), -EXPECTED
    )


BROKEN = {
    "empty": (b"", "is empty"),
    "no samples": (wav_bytes(b""), "holds no samples"),
    "no samples, list after": (wav_bytes(b"", after=listing()), "holds no samples"),
    "cut header": (wav_bytes(PCM)[:30], "ends inside its header"),
    "no format": (b"RIFF\0\0\0\0WAVEdata\4\0\0\0abcd", "without a format"),
    "short format": (b"RIFF\0\0\0\0WAVEfmt \2\0\0\0\1\0data\4\0\0\0abcd", "2 bytes"),
    "no channels": (wav_bytes(PCM, channels=0), "0 channels"),
    "no rate": (wav_bytes(PCM, rate=0), "at 0 Hz"),
    "text": (b"this is no recording at all", "not readable audio"),
    "second data chunk": (
        wav_bytes(PCM, after=listing() + b"data" + struct.pack("<I", 8) + b"x" * 8),
        "a second data chunk of 8 bytes",
    ),
    "float on the scale of int16": (
        wav_bytes(SAMPLES.astype("<f4").tobytes(), codec=3, bits=32),
        r"floating-point samples up to 19999, where \[-1, 1\] is the scale",
    ),
    "unknown codec": (wav_bytes(PCM, codec=0x1234), "not readable audio"),
    "nan": (wav_bytes(np.array([0, np.nan], np.float32).tobytes(), codec=3, bits=32), "not finite"),
    "infinite": (
        wav_bytes(np.array([0, np.inf], np.float32).tobytes(), codec=3, bits=32),
        "not finite",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_files_are_named(name, read):
    data, message = BROKEN[name]
    with pytest.raises(AudioError, match=message) as raised:
        read(data)
    assert "a.wav" in raised.value.message


def test_info_reads_the_header_alone(tmp_path):
    path = tmp_path / "a.wav"
    path.write_bytes(wav_bytes(PCM, rate=8000, data_size=0xFFFFFFFF))
    info = audio_info(str(path))
    assert (info.num_samples, info.sample_rate, info.channels) == (800, 8000, 1)
    assert info.duration == 0.1
    assert info.format == "wav pcm16"
