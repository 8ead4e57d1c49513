"""The header of an MPEG-4 file tells the length; damaged ones are errors, never wrong lengths."""

import contextlib
import struct
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sv_cli.audio.info import audio_info
from sv_cli.audio.mp4 import mp4_info
from sv_cli.errors import AudioError


def box(kind: bytes, *content: bytes) -> bytes:
    body = b"".join(content)
    return struct.pack(">I", 8 + len(body)) + kind + body


def movie(*, edits: bytes = b"", handler: bytes = b"soun", samples: int = 33792) -> bytes:
    """Return a file of one track at 16 kHz; a movie tick is 1 ms."""
    mvhd = box(b"mvhd", bytes(12), struct.pack(">II", 1000, 2112), bytes(80))
    mdhd = box(b"mdhd", bytes(12), struct.pack(">II", 16000, samples), bytes(4))
    hdlr = box(b"hdlr", bytes(8), handler, bytes(12))
    entry = box(b"mp4a", bytes(16), struct.pack(">HHI", 1, 16, 0), struct.pack(">I", 16000 << 16))
    stsd = box(b"stsd", bytes(4), struct.pack(">I", 1), entry)
    mdia = box(b"mdia", mdhd, hdlr, box(b"minf", box(b"stbl", stsd)))
    trak = box(b"trak", edits, mdia)
    return box(b"ftyp", b"M4A ") + box(b"mdat", bytes(64)) + box(b"moov", mvhd, trak)


def edit_list(*entries: tuple[int, int]) -> bytes:
    rows = b"".join(struct.pack(">Iii", ms, start, 1 << 16) for ms, start in entries)
    return box(b"edts", box(b"elst", bytes(4), struct.pack(">I", len(entries)), rows))


def write(tmp_path: Path, content: bytes) -> Path:
    path = tmp_path / "x.m4a"
    path.write_bytes(content)
    return path


def test_the_length_of_the_media_without_edits(tmp_path: Path) -> None:
    info = mp4_info(write(tmp_path, movie()))
    assert (info.num_samples, info.sample_rate, info.channels) == (33792, 16000, 1)


def test_edits_leave_out_the_delay_of_the_encoder(tmp_path: Path) -> None:
    path = write(tmp_path, movie(edits=edit_list((2000, 1024))))
    assert mp4_info(path).duration == 2.0
    path = write(tmp_path, movie(edits=edit_list((500, -1), (1500, 1024))))
    assert mp4_info(path).duration == 1.5


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"RIFF and no more",
        movie(handler=b"vide"),
        movie()[:-40],
        box(b"ftyp", b"M4A ") + struct.pack(">I", 0xFFFFFFFF) + b"moov",
        struct.pack(">I", 0) + b"mdat" + bytes(20),
    ],
    ids=["empty", "wav", "video", "cut", "claim", "no header"],
)
def test_what_is_no_audio_is_an_error(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(AudioError, match="no audio track"):
        mp4_info(write(tmp_path, content))


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match="No such file"):
        mp4_info(tmp_path / "x.m4a")


def test_every_truncation_is_an_error_or_the_length(tmp_path: Path) -> None:
    whole = movie(edits=edit_list((2000, 1024)))
    for size in range(0, len(whole), 7):
        with contextlib.suppress(AudioError):
            assert mp4_info(write(tmp_path, whole[:size])).num_samples in (32000, 33792)


@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=8))
def test_damaged_bytes_are_an_error_or_a_form(changes: list[tuple[int, int]]) -> None:
    content = bytearray(movie(edits=edit_list((2000, 1024))))
    for at, value in changes:
        content[at % len(content)] = value
    with TemporaryDirectory() as folder, contextlib.suppress(AudioError):
        info = mp4_info(write(Path(folder), bytes(content)))
        assert info.num_samples >= 0
        assert info.sample_rate > 0
        assert info.duration >= 0.0


def test_real_files_have_the_length_of_their_conversion(shared: Path) -> None:
    folder = shared / "data/layouts/voxceleb/vox2/dev"
    paths = sorted((folder / "aac").rglob("*.m4a"))
    assert len(paths) == 23
    for path in paths:
        converted = folder / "wav" / path.relative_to(folder / "aac").with_suffix(".wav")
        assert mp4_info(path).num_samples == audio_info(str(converted)).num_samples
