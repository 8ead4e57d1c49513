"""Open a recording by name: a file, an archive entry, a pipe."""

import io
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import IO, Protocol

import numpy as np
import soundfile
from numpy.typing import NDArray

from sv_cli.audio import wav
from sv_cli.audio.flac import count_hidden_samples
from sv_cli.audio.memory_file import memory_file
from sv_cli.errors import AudioError, TableError
from sv_cli.tables.kaldi.specifier import check_input, open_input

_ENTRY = re.compile(r"^(?P<path>.+):(?P<offset>[0-9]+)$")
_BLOCK_SAMPLES = 1 << 20  # 65 s at 16 kHz: nearly every recording in one piece
_UNKNOWN_LENGTH = 1 << 62  # libsndfile gives 2^63 - 1
MIN_RATE, MAX_RATE = 1000, 768000  # Hz
_CONVERT = "check the file, or read it by a pipe such as `ffmpeg -i FILE -f wav - |`"


class Recording(Protocol):
    """An open recording: its form, and any part of its samples."""

    num_samples: int
    sample_rate: int
    channels: int
    format: str
    may_hold_nan: bool

    def read(self, start: int, count: int, channel: int) -> NDArray[np.float32]:
        """Return `count` samples of a channel from sample `start` on, float32 in [-1, 1]."""


class SoundFileRecording:
    """What libsndfile reads: FLAC, Ogg, Opus, MP3, NIST SPHERE and more."""

    def __init__(self, sound: soundfile.SoundFile, stream: IO[bytes], *, name: str) -> None:
        self._sound, self._stream, self._name = sound, stream, name
        self.num_samples = int(sound.frames)
        self.sample_rate, self.channels = int(sound.samplerate), int(sound.channels)
        self.format = f"{sound.format} {sound.subtype}".lower().replace("_", "")
        self.may_hold_nan = sound.subtype in ("FLOAT", "DOUBLE")

    def read(self, start: int, count: int, channel: int) -> NDArray[np.float32]:
        """Return `count` samples of a channel from sample `start` on."""
        if start != self._sound.tell():
            self._sound.seek(start)
        parts = []
        while count > 0:
            block = min(count, _BLOCK_SAMPLES)
            samples = self._sound.read(block, dtype="float32", always_2d=True)
            parts.append(np.ascontiguousarray(samples[:, channel]))
            count -= len(samples)
            if len(samples) < block:  # a header may claim more than there is
                break
        if start == 0 and self._sound.tell() == self.num_samples and self._sound.format == "FLAC":
            self._refuse_hidden_samples()
        return parts[0] if len(parts) == 1 else np.concatenate(parts or [np.empty(0, np.float32)])

    def _refuse_hidden_samples(self) -> None:
        """Raise when a FLAC file that was read whole goes on after the length in its header."""
        hidden = count_hidden_samples(self._stream)
        if hidden:
            raise AudioError(
                f"`{self._name}`: the header claims {self.num_samples} samples, {hidden} more "
                "follow",
                hint="make the file again: its header is wrong",
            )


@contextmanager
def open_recording(rx: str, *, audio_root: str | Path | None = None) -> Iterator[Recording]:
    """Open a recording for reading parts of it.

    Parameters
    ----------
    rx : str
        `file`, `archive:offset`, `command |` or `-`. Pipes are read to their end at once, and
        their exit status is checked.
    audio_root : str or Path, optional
        Where relative paths start; the current directory otherwise.

    Raises
    ------
    AudioError
        When it cannot be read as audio; the message names `rx`.
    """
    rx = rx.strip()
    if rx == "-" or rx.endswith("|"):
        with _open_stream(io.BytesIO(_read_pipe(rx)), name=rx) as recording:
            yield recording
        return
    path, offset = locate(rx, audio_root=audio_root)
    with _open_file(path) as stream:
        stream.seek(offset)
        with _open_stream(stream, name=rx, path=path, offset=offset) as recording:
            yield recording


def open_bytes(data: bytes, *, name: str) -> AbstractContextManager[Recording]:
    """Open a file that is in memory; messages call it `name`."""
    return _open_stream(io.BytesIO(data), name=name)


def locate(rx: str, *, audio_root: str | Path | None = None) -> tuple[Path, int]:
    """Return the file and byte offset that `file` or `archive:offset` names."""
    root = Path(audio_root) if audio_root else Path()
    entry = _ENTRY.match(rx)
    if entry and not (root / rx).exists():
        return root / entry["path"], int(entry["offset"])
    return root / rx, 0


def _read_pipe(rx: str) -> bytes:
    check_input(rx, rx)
    try:
        with open_input(rx) as stream:
            data: bytes = stream.read()
    except TableError as error:  # a command that failed costs its recording, not the whole run
        raise AudioError(error.message, hint=error.hint) from error
    return data


@contextmanager
def _open_file(path: Path) -> Iterator[IO[bytes]]:
    try:
        stream = path.open("rb")
    except FileNotFoundError as error:
        hint = "relative paths start at the current directory, or at `--audio-root`"
        raise AudioError(f"no such recording: `{path}`", hint=hint) from error
    except OSError as error:
        raise AudioError(f"cannot read `{path}`: {error.strerror}") from error
    with stream:
        yield stream


@contextmanager
def _open_stream(
    stream: IO[bytes], *, name: str, path: Path | None = None, offset: int = 0
) -> Iterator[Recording]:
    if not stream.read(1):
        raise AudioError(f"`{name}` is empty", hint="remove it from wav.scp or copy it again")
    stream.seek(offset)
    try:
        header = wav.read_header(stream, name=name)
    except wav.UnsupportedWav:
        pass
    else:
        _refuse_rate(header.sample_rate, name)
        yield wav.WavRecording(stream, header, name=name, offset=offset)
        return
    try:
        with (
            _for_libsndfile(stream, path, offset) as file,
            soundfile.SoundFile(file, closefd=False) as sound,
        ):
            if sound.frames >= _UNKNOWN_LENGTH:
                raise AudioError(f"`{name}`: its header gives no length (streamed)", hint=_CONVERT)
            _refuse_rate(int(sound.samplerate), name)
            if isinstance(file, str):
                yield SoundFileRecording(sound, stream, name=name)
                return
            with open(file, "rb", buffering=0, closefd=False) as content:
                yield SoundFileRecording(sound, content, name=name)
    except soundfile.LibsndfileError as error:
        reason = str(error.error_string).rstrip(".")
        raise AudioError(f"`{name}` is not readable audio: {reason}", hint=_CONVERT) from error


def _refuse_rate(sample_rate: int, name: str) -> None:
    """Raise for a rate of no recording: resampling it would multiply its length."""
    if not MIN_RATE <= sample_rate <= MAX_RATE:
        raise AudioError(
            f"`{name}`: a sampling rate of {sample_rate} Hz; {MIN_RATE} to {MAX_RATE} are read",
            hint="check the file: its header is wrong, or it is no recording of speech",
        )


def _for_libsndfile(
    stream: IO[bytes], path: Path | None, offset: int
) -> AbstractContextManager[str | int]:
    """Return a path where there is one, for speed; else the bytes are copied to a file."""
    if path is not None and offset == 0:
        return nullcontext(str(path))
    stream.seek(offset)
    return memory_file(stream.read())
