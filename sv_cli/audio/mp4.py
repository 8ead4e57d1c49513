"""Form of an MPEG-4 recording (`m4a`) from its header alone: no decoder is needed for a length."""

from collections.abc import Iterator
from pathlib import Path

from sv_cli.audio.info import AudioInfo
from sv_cli.errors import AudioError

_MAX_HEADER_BYTES = 1 << 26  # a header that claims more is not one of speech


def mp4_info(path: str | Path) -> AudioInfo:
    """Return the form of the first audio track of an MPEG-4 file.

    The length is that of the edit list where there is one, since the encoder's delay is not
    played.

    Raises
    ------
    AudioError
        When the file cannot be read, or its header is broken or names no audio.

    Notes
    -----
    Boxes `moov/mvhd`, `moov/trak/mdia/{hdlr,mdhd,minf/stbl/stsd}`, `moov/trak/edts/elst` of
    ISO/IEC 14496-12.
    """
    try:
        moov = _read_header(Path(path))
        return _audio_track(moov)
    except OSError as error:
        raise AudioError(f"`{path}`: {error.strerror}") from error
    except (LookupError, ZeroDivisionError) as error:
        raise AudioError(f"`{path}`: no audio track in its MPEG-4 header") from error


def _read_header(path: Path) -> bytes:
    """Return the content of the box `moov`, at any place in the file."""
    size = path.stat().st_size
    with path.open("rb") as stream:
        at = 0
        while at + 8 <= size:
            stream.seek(at)
            start = stream.read(16)
            length, kind = _number(start[:4]), start[4:8]
            body = 8
            if length == 1 and len(start) == 16:
                length, body = _number(start[8:16]), 16
            elif length == 0:
                length = size - at
            if kind == b"moov":
                if not body <= length <= min(size - at, _MAX_HEADER_BYTES):
                    break
                stream.seek(at + body)
                return stream.read(length - body)
            if length < body:
                break
            at += length
    raise LookupError("moov")


def _audio_track(moov: bytes) -> AudioInfo:
    for kind, track in _boxes(moov):
        if kind != b"trak":
            continue
        media = _find(track, b"mdia")
        if _find(media, b"hdlr")[8:12] != b"soun":
            continue
        rate, num_samples = _clock(_find(media, b"mdhd"))
        if not rate:
            break
        played = _played_seconds(track, moov)
        if played is not None:
            num_samples = min(num_samples, round(played * rate))
        entry = _find(media, b"minf", b"stbl", b"stsd")[8:]
        return AudioInfo(num_samples, rate, _number(entry[24:26]), "MPEG-4")
    raise LookupError("trak")


def _played_seconds(track: bytes, moov: bytes) -> float | None:
    """Return the seconds of the edits that show media, or None without an edit list."""
    try:
        edits = _find(track, b"edts", b"elst")
    except LookupError:
        return None
    ticks, _ = _clock(_find(moov, b"mvhd"))
    wide = 8 if edits[0] == 1 else 4
    length = 2 * wide + 4
    total = 0
    for at in range(8, 8 + _number(edits[4:8]) * length, length):
        entry = edits[at : at + length]
        if len(entry) < length:
            break
        if entry[wide : 2 * wide] != b"\xff" * wide:  # -1: silence, no media
            total += _number(entry[:wide])
    return total / ticks if total else None


def _clock(box: bytes) -> tuple[int, int]:
    """Return (ticks a second, length in ticks) of `mvhd` or `mdhd`."""
    at, wide = (20, 8) if box[0] == 1 else (12, 4)
    return _number(box[at : at + 4]), _number(box[at + 4 : at + 4 + wide])


def _find(content: bytes, *names: bytes) -> bytes:
    for name in names:
        content = next((body for kind, body in _boxes(content) if kind == name), b"")
        if not content:
            raise LookupError(name)
    return content


def _boxes(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 0
    while at + 8 <= len(content):
        length = _number(content[at : at + 4])
        if not 8 <= length <= len(content) - at:
            return
        yield content[at + 4 : at + 8], content[at + 8 : at + length]
        at += length


def _number(raw: bytes) -> int:
    return int.from_bytes(raw, "big")
