"""RIFF WAVE as recordings really come: any sample format, streamed and wrong headers.

Other containers, and the rarer codecs inside a WAVE file, are libsndfile's.
"""

import struct
from dataclasses import dataclass, replace
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from sv_cli.audio.notices import say_once
from sv_cli.errors import AudioError

PCM, FLOAT, A_LAW, MU_LAW, EXTENSIBLE = 1, 3, 6, 7, 0xFFFE
# Sizes that ffmpeg and sox write when they cannot know the length.
_STREAMED_SIZES = (0xFFFFFFFF, 0x7FFFF000, 0x7FFFFFFF, 0x80000000)
_MAX_FORMAT_BYTES = 1 << 12  # 40 are in use
_SKIP_BYTES = 1 << 16
_MOST_CHUNKS = 64  # looked at after the data
_SAMPLE_BYTES = {PCM: (1, 2, 3, 4), FLOAT: (4, 8), A_LAW: (1,), MU_LAW: (1,)}
_NAMES = {PCM: "pcm", FLOAT: "float", A_LAW: "a-law", MU_LAW: "mu-law"}


@dataclass(frozen=True)
class WavHeader:
    """What the header says: `data_size` in bytes is None when the data go on to the end."""

    codec: int
    sample_bytes: int
    channels: int
    sample_rate: int
    big_endian: bool
    data_start: int
    data_size: int | None

    @property
    def frame_bytes(self) -> int:
        """Bytes of one sample of all channels."""
        return self.sample_bytes * self.channels

    @property
    def format(self) -> str:
        """Name of the sample format, as `pcm16`."""
        bits = str(8 * self.sample_bytes) if self.codec in (PCM, FLOAT) else ""
        return "wav " + _NAMES[self.codec] + bits


class UnsupportedWav(Exception):
    """A WAVE file whose codec is left to libsndfile."""


def read_header(stream: IO[bytes], *, name: str) -> WavHeader:
    """Read a header up to the first sample, by reading forward only.

    Raises
    ------
    UnsupportedWav
        When the stream is no RIFF WAVE file, or its codec is not one of those above.
    AudioError
        When the header is damaged.
    """
    start = _read(stream, 12, name)
    if start[:4] not in (b"RIFF", b"RIFX") or start[8:] != b"WAVE":
        raise UnsupportedWav
    big_endian = start[:4] == b"RIFX"
    order = ">" if big_endian else "<"
    riff_size = struct.unpack(order + "I", start[4:8])[0]
    position, header = 12, None
    while True:
        chunk, size = struct.unpack(order + "4sI", _read(stream, 8, name))
        position += 8
        if chunk == b"data":
            break
        if chunk == b"fmt " and size <= _MAX_FORMAT_BYTES:
            header = _parse_format(_read(stream, size + size % 2, name), order, name)
        else:
            _skip(stream, size + size % 2, name)
        position += size + size % 2
    if header is None:
        raise AudioError(f"`{name}`: a WAVE file without a format before its data")
    # A length of 0 is meant where the size of the whole file leaves room for chunks after it.
    unknown = riff_size <= position - 8 or riff_size in _STREAMED_SIZES
    streamed = size in _STREAMED_SIZES or (size == 0 and unknown)
    return replace(header, data_start=position, data_size=None if streamed else size)


def decode(data: bytes, header: WavHeader, *, channel: int = 0) -> NDArray[np.float32]:
    """Return one channel of raw sample bytes as float32 in [-1, 1], shape (num_samples,)."""
    usable = len(data) - len(data) % header.frame_bytes
    if header.sample_bytes == 3:
        return _decode_24_bit(data[:usable], header, channel)
    dtype = np.dtype(_dtype(header)).newbyteorder(">" if header.big_endian else "<")
    raw = np.frombuffer(data, dtype, count=usable // header.sample_bytes)
    raw = raw[channel :: header.channels]
    if header.codec in (A_LAW, MU_LAW):
        table: NDArray[np.float32] = _LAWS[header.codec][raw]
        return table
    samples = raw.astype(np.float32)
    if header.codec == PCM:
        if header.sample_bytes == 1:
            samples -= 128.0
        samples *= 2.0 ** (1 - 8 * header.sample_bytes)
    return samples


class WavRecording:
    """A WAVE file in a stream that can seek."""

    def __init__(self, stream: IO[bytes], header: WavHeader, *, name: str, offset: int = 0) -> None:
        self._stream, self._header = stream, header
        self._start = offset + header.data_start
        present = stream.seek(0, 2) - self._start
        size = present if header.data_size is None else min(header.data_size, present)
        if header.data_size is not None and present < header.data_size:
            say_once(f"`{name}` ends before the length in its header: read to its end")
        if header.data_size is not None and not offset:
            self._refuse_second_data(header, present, name)
        self.num_samples = size // header.frame_bytes
        self.sample_rate, self.channels = header.sample_rate, header.channels
        self.format = header.format
        self.may_hold_nan = header.codec == FLOAT

    def _refuse_second_data(self, header: WavHeader, present: int, name: str) -> None:
        """Raise when more samples follow in a chunk of their own: readers differ about them."""
        assert header.data_size is not None
        order = ">" if header.big_endian else "<"
        at = header.data_size + header.data_size % 2
        for _ in range(_MOST_CHUNKS):
            if at + 8 > present:
                return
            self._stream.seek(self._start + at)
            chunk, size = struct.unpack(order + "4sI", self._stream.read(8))
            if chunk == b"data":
                raise AudioError(
                    f"`{name}`: a second data chunk of {size} bytes at byte {self._start + at}",
                    hint="a WAVE file has one: write it again as one recording, or as two",
                )
            at += 8 + size + size % 2

    def read(self, start: int, count: int, channel: int) -> NDArray[np.float32]:
        """Return `count` samples of a channel from sample `start` on."""
        frame_bytes = self._header.frame_bytes
        self._stream.seek(self._start + start * frame_bytes)
        data = self._stream.read(max(0, min(count, self.num_samples - start)) * frame_bytes)
        return decode(data, self._header, channel=channel)


def _read(stream: IO[bytes], count: int, name: str) -> bytes:
    data = stream.read(count)
    if len(data) < count:
        raise AudioError(f"`{name}`: the file ends inside its header", hint="copy it again")
    return data


def _skip(stream: IO[bytes], count: int, name: str) -> None:
    """Read past a chunk in blocks: the size that a header claims is not allocated."""
    while count > 0:
        count -= len(_read(stream, min(count, _SKIP_BYTES), name))


def _parse_format(body: bytes, order: str, name: str) -> WavHeader:
    if len(body) < 16:
        raise AudioError(f"`{name}`: a WAVE format of {len(body)} bytes; at least 16 are needed")
    codec, channels, rate, _, block, bits = struct.unpack(order + "HHIIHH", body[:16])
    if codec == EXTENSIBLE and len(body) >= 26:
        codec = struct.unpack(order + "H", body[24:26])[0]
    if channels == 0 or rate == 0:
        raise AudioError(f"`{name}`: {channels} channels at {rate} Hz in the header")
    sample_bytes = block // channels or bits // 8
    if sample_bytes not in _SAMPLE_BYTES.get(codec, ()):
        raise UnsupportedWav
    return WavHeader(codec, sample_bytes, channels, rate, order == ">", 0, None)


def _dtype(header: WavHeader) -> str:
    if header.codec == FLOAT:
        return f"f{header.sample_bytes}"
    return "u1" if header.sample_bytes == 1 else f"i{header.sample_bytes}"


def _decode_24_bit(data: bytes, header: WavHeader, channel: int) -> NDArray[np.float32]:
    raw = np.frombuffer(data, np.uint8).reshape(-1, header.channels, 3)[:, channel]
    if header.big_endian:
        raw = raw[:, ::-1]
    wide = np.zeros((len(raw), 4), np.uint8)
    wide[:, 1:] = raw  # the upper three bytes of a little-endian 32-bit integer
    return wide.view("<i4")[:, 0].astype(np.float32) * np.float32(2.0**-31)


def _mu_law() -> NDArray[Any]:
    """Return the samples of the 256 codes of G.711 mu-law, in 1/32768."""
    code = ~np.arange(256, dtype=np.uint8)
    exponent, mantissa = (code >> 4) & 7, (code & 15).astype(np.int32)
    magnitude = ((2 * mantissa + 33) << exponent) - 33
    return np.where(code & 0x80, -4 * magnitude, 4 * magnitude)


def _a_law() -> NDArray[Any]:
    """Return the samples of the 256 codes of G.711 A-law, in 1/32768."""
    code = np.arange(256, dtype=np.uint8) ^ 0x55
    exponent, mantissa = ((code >> 4) & 7).astype(np.int32), (code & 15).astype(np.int32)
    low = 2 * mantissa + 1
    magnitude = np.where(exponent == 0, low, (low + 32) << np.maximum(exponent - 1, 0))
    return np.where(code & 0x80, 8 * magnitude, -8 * magnitude)


_LAWS = {
    MU_LAW: (_mu_law() / 32768.0).astype(np.float32),
    A_LAW: (_a_law() / 32768.0).astype(np.float32),
}
