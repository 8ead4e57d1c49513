"""Archives of recordings, as Kaldi's wav-copy writes them: key, blank, WAVE file, and again."""

from pathlib import Path
from typing import IO

from sv_cli.audio import wav
from sv_cli.errors import AudioError

_MAX_KEY = 1024


def index_archive(path: str | Path) -> dict[str, int]:
    """Return key -> byte offset of each recording of an archive, in its order.

    Raises
    ------
    AudioError
        When an entry is no WAVE file, a key repeats, or the file breaks off.
    """
    offsets: dict[str, int] = {}
    try:
        stream = Path(path).open("rb")  # noqa: SIM115 - closed below
    except OSError as error:
        raise AudioError(f"cannot read `{path}`: {error.strerror}") from error
    with stream:
        end = stream.seek(0, 2)
        stream.seek(0)
        while key := _read_key(stream, str(path)):
            offset = stream.tell()
            if key in offsets:
                raise AudioError(f"`{path}`: key `{key}` at byte {offset} stands there already")
            offsets[key] = offset
            if stream.seek(offset + _size(stream, f"{path}:{offset}")) > end:
                raise AudioError(f"`{path}` breaks off inside `{key}`", hint="make it again")
    return offsets


def _read_key(stream: IO[bytes], name: str) -> str:
    raw = bytearray()
    while (byte := stream.read(1)) and byte not in b" \t":
        raw += byte
        if len(raw) > _MAX_KEY:
            break
    if raw and byte not in (b" ", b"\t"):
        raise AudioError(f"`{name}` is no archive of recordings", hint="give a wav.scp as `scp:`")
    return raw.decode("utf-8", "surrogateescape")


def _size(stream: IO[bytes], name: str) -> int:
    try:
        header = wav.read_header(stream, name=name)
    except wav.UnsupportedWav as error:
        raise AudioError(
            f"`{name}` is no WAVE file", hint="archives hold WAVE files only"
        ) from error
    if header.data_size is None:
        raise AudioError(f"`{name}`: a recording of unknown length inside an archive")
    return header.data_start + header.data_size
