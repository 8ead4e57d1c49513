"""FLAC files whose header claims fewer samples than their frames contain.

Decoders stop at the length in the header, so the rest of such a recording would be lost unnoticed.
The format is that of RFC 9639.
"""

from typing import IO

_HEAD_BYTES = 42  # `fLaC`, the head of a metadata block, STREAMINFO
_TAIL_BYTES = 1 << 16  # more than one frame
_SYNC = {False: b"\xff\xf8", True: b"\xff\xf9"}  # blocks of one size, of several sizes


def count_hidden_samples(stream: IO[bytes]) -> int:
    """Return how many samples of a FLAC file are after the length in its header.

    0 for a sound header, a header without a length, and files that end in something other than a
    frame (tags, a torn frame). The position of the stream is kept.
    """
    before = stream.tell()
    try:
        size = stream.seek(0, 2)
        stream.seek(0)
        head = stream.read(_HEAD_BYTES)
        stream.seek(max(0, size - _TAIL_BYTES))
        tail = stream.read()
    finally:
        stream.seek(before)
    if len(head) < _HEAD_BYTES or not head.startswith(b"fLaC"):
        return 0
    smallest, largest = (int.from_bytes(head[at : at + 2], "big") for at in (8, 10))
    claimed = int.from_bytes(head[21:26], "big") & ((1 << 36) - 1)
    variable = smallest != largest
    at = len(tail)
    while claimed and (at := tail.rfind(_SYNC[variable], 0, at)) >= 0:
        frame = _read_head(tail[at : at + 16].ljust(16, b"\0"))
        if frame is None:
            continue
        number, count = frame
        end = (number if variable else number * largest) + count
        if end <= claimed:
            return 0
        if _crc(tail[at:-2], 0x8005, 16) == int.from_bytes(tail[-2:], "big"):
            return end - claimed
    return 0


def _read_head(frame: bytes) -> tuple[int, int] | None:
    """Return the coded number and the samples of a frame, None where its checksum is wrong."""
    ones = 8 - (~frame[4] & 0xFF).bit_length()  # as UTF-8: leading ones count the bytes
    if ones == 1 or ones > 7:
        return None
    end = 4 + max(ones, 1)
    number = frame[4] & (0x7F >> ones)
    for byte in frame[5:end]:
        number = number << 6 | byte & 0x3F
    size, rate = frame[2] >> 4, frame[2] & 0x0F
    if size in (6, 7):
        width = size - 5
        count, end = int.from_bytes(frame[end : end + width], "big") + 1, end + width
    else:
        count = 192 if size == 1 else 576 << size - 2 if 1 < size < 6 else 256 << max(size - 8, 0)
    end += {12: 1, 13: 2, 14: 2}.get(rate, 0)
    return (number, count) if size and _crc(frame[:end], 0x07, 8) == frame[end] else None


def _crc(data: bytes, polynomial: int, bits: int) -> int:
    value, top, mask = 0, 1 << (bits - 1), (1 << bits) - 1
    for byte in data:
        value ^= byte << (bits - 8)
        for _ in range(8):
            value = (value << 1 ^ (polynomial if value & top else 0)) & mask
    return value
