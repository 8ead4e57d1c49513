"""`segments`: utterances cut out of recordings, `utt recording start end [channel]`."""

from pathlib import Path
from typing import NamedTuple

from sv_cli.errors import TableError
from sv_cli.tables.text import parse_number, read_table, split_fields


class Segment(NamedTuple):
    """Part of a recording, in seconds; `end` None is the end of the recording (written -1)."""

    recording: str
    start: float
    end: float | None
    channel: int | None = None

    @classmethod
    def of(cls, recording: object, start: object, end: object, channel: object = None) -> "Segment":
        """Return a segment of numbers or texts.

        Raises
        ------
        TableError
            When start or end is no time, or the part would be empty.
        """
        first, last = parse_number(str(start)), parse_number(str(-1.0 if end is None else end))
        place = None if channel is None else parse_number(str(channel))
        if first is None or last is None or first < 0:
            raise TableError(f"segment `{start} {end}` is no pair of times")
        if channel is not None and (place is None or place < 0 or place != int(place)):
            raise TableError(f"channel `{channel}` is no channel number")
        if last != -1 and last <= first:
            raise TableError(f"segment ends at {end}, not after its start {start}")
        return cls(
            str(recording),
            first,
            None if last == -1 else last,
            None if place is None else int(place),
        )

    def __str__(self) -> str:
        end = "-1" if self.end is None else f"{self.end:.10g}"
        text = f"{self.recording} {self.start:.10g} {end}"
        return text if self.channel is None else f"{text} {self.channel}"


def parse_segment(value: str) -> Segment:
    """Return the segment of the fields after the key."""
    fields = split_fields(value)
    if len(fields) not in (3, 4):
        raise TableError(f"{len(fields) + 1} fields in segments, expected 4 or 5")
    return Segment.of(*fields)


def parse_segments(path: Path) -> dict[str, Segment]:
    """Return utterance -> segment.

    Raises
    ------
    TableError
        Names `file:line` of a segment that cannot be.
    """
    segments = {}
    for line, (utt, value) in enumerate(read_table(str(path), what="segments").items(), start=1):
        try:
            segments[utt] = parse_segment(value)
        except TableError as error:
            raise TableError(f"`{path}:{line}`: {error.message}") from error
    return segments
