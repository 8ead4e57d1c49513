"""Shar: utterances in tar archives that are read in long stretches, for disks far away.

`recording.N.tar` holds an audio file and its manifest for each utterance, `cuts.N.jsonl.gz` names
speaker and length, as lhotse writes them. `cuts.N.index`, which lhotse passes over, says where in
the archive each utterance is; archives without one are looked through.
"""

import gzip
import json
import re
import tarfile
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from sv_cli import logs
from sv_cli.errors import TableError

_MAKE_AGAIN = "make it again with `svtool data to-shar --resume`"


class Stored(NamedTuple):
    """An utterance in an archive: its bytes lie at `offset`."""

    utt: str
    speaker: str
    offset: int
    size: int
    num_samples: int
    sample_rate: int


@dataclass
class Shard:
    """The record of a finished archive.

    `size` are the bytes of the archive, `skipped` says why for each utterance left out.
    """

    fingerprint: str
    num_shards: int
    size: int = 0
    stored: list[Stored] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    notices: list[str] = field(default_factory=list)


def is_shar(path: str | Path) -> bool:
    """Return whether a folder holds shards and no tables of Kaldi's."""
    folder = Path(path)
    return not (folder / "utt2spk").exists() and any(folder.glob("recording.*.tar"))


def archive_path(folder: Path, number: int) -> Path:
    """Return where the audio of a shard is."""
    return folder / f"recording.{number:06d}.tar"


def cuts_path(folder: Path, number: int) -> Path:
    """Return where the manifests of a shard lie."""
    return folder / f"cuts.{number:06d}.jsonl.gz"


def index_path(folder: Path, number: int) -> Path:
    """Return where the record of a shard is."""
    return folder / f"cuts.{number:06d}.index"


def read_index(folder: Path, number: int) -> Shard | None:
    """Return the record of a shard; None where there is none that can be read."""
    try:
        values = json.loads(index_path(folder, number).read_text(encoding="utf-8"))
        shard = Shard(**values)
        shard.stored = [Stored(*row) for row in shard.stored]
        if not _has_types(shard):
            return None
    except (OSError, ValueError, TypeError):
        return None
    return shard


def _has_types(shard: Shard) -> bool:
    """Return whether the values of an index have their types."""
    counts = [shard.num_shards, shard.size]
    counts += [number for row in shard.stored for number in row[2:]]
    texts = [shard.fingerprint, *(text for row in shard.stored for text in row[:2])]
    return (
        all(type(count) is int for count in counts)
        and all(isinstance(text, str) for text in texts)
        and all(row.sample_rate > 0 and row.num_samples >= 0 for row in shard.stored)
    )


def read_shards(path: str | Path) -> list[tuple[Path, list[Stored]]]:
    """Return each archive with what is stored in it.

    Raises
    ------
    TableError
        When an archive is missing, breaks off, or holds something else than its manifests say.
    """
    folder = Path(path)
    archives = sorted(folder.glob("recording.*.tar"))
    shards = []
    looked_through = 0
    for archive in archives:
        number = archive.name.split(".")[1]
        shard = read_index(folder, int(number)) if re.fullmatch("[0-9]{1,9}", number) else None
        if shard is None:
            looked_through += 1
            shards.append((archive, _look_through(archive)))
            continue
        _check_index(archive, shard, archives)
        shards.append((archive, shard.stored))
    if looked_through:
        logs.info(f"looked through {looked_through} archives without an index")
    return shards


def _check_index(archive: Path, shard: Shard, archives: list[Path]) -> None:
    if len(archives) != shard.num_shards:
        raise TableError(
            f"`{archive.parent}` holds {len(archives)} of {shard.num_shards} shards",
            hint=_MAKE_AGAIN,
        )
    present = archive.stat().st_size
    if present != shard.size:
        raise TableError(
            f"`{archive}` breaks off: {present} of {shard.size} bytes"
            if present < shard.size
            else f"`{archive}` does not match its index: {present} bytes, not {shard.size}",
            hint=_MAKE_AGAIN,
        )

    places = [(row.offset, row.offset + row.size) for row in shard.stored]
    bounds = [tarfile.BLOCKSIZE, *(place for span in places for place in span), shard.size]
    if any(one > two for one, two in pairwise(bounds)):
        raise TableError(f"the index of `{archive}` is damaged", hint=_MAKE_AGAIN)


def _look_through(archive: Path) -> list[Stored]:
    """Return what an archive and the manifests next to it hold."""
    cuts = archive.with_name(archive.name.replace("recording.", "cuts.", 1)).with_suffix("")
    manifests = _read_cuts(Path(f"{cuts}.jsonl.gz"))
    try:
        with tarfile.open(archive, "r:") as tar:
            members = tar.getmembers()
            audio, texts = members[0::2], members[1::2]
            rows = [_parse_manifest(tar, text, archive) for text in texts]
    except (tarfile.TarError, OSError) as error:
        hint = "copy it again"
        raise TableError(f"`{archive}` breaks off or is no archive: {error}", hint=hint) from error
    names = [Path(member.name).with_suffix("").as_posix() for member in audio]
    if names != [str(cut["id"]) for cut in manifests] or len(rows) != len(names):
        raise TableError(f"`{archive}` does not hold the utterances of `{cuts}.jsonl.gz`")
    return [
        Stored(str(cut["id"]), _speaker(cut, archive), member.offset_data, member.size, *row)
        for cut, member, row in zip(manifests, audio, rows, strict=True)
    ]


def _read_cuts(path: Path) -> list[dict[str, Any]]:
    try:
        with gzip.open(path, "rt", encoding="utf-8") as stream:
            cuts = [json.loads(line) for line in stream]
        if not all(isinstance(cut, dict) and "id" in cut for cut in cuts):
            raise ValueError("a line is no cut")
        return cuts
    except (OSError, EOFError, ValueError) as error:
        raise TableError(f"`{path}` cannot be read: {error}", hint="copy it again") from error


def _parse_manifest(
    tar: tarfile.TarFile, member: tarfile.TarInfo, archive: Path
) -> tuple[int, int]:
    """Return the number of samples and the rate of a manifest in an archive."""
    stream = tar.extractfile(member)
    try:
        values = json.loads(stream.read()) if stream else {}
        num_samples, rate = int(values["num_samples"]), int(values["sampling_rate"])
        if num_samples < 0 or rate <= 0:
            raise ValueError(f"{num_samples} samples at {rate} Hz")
        return num_samples, rate
    except (OverflowError, ValueError, KeyError, TypeError) as error:
        raise TableError(f"`{archive}`: `{member.name}` is no manifest of audio") from error


def _speaker(cut: dict[str, Any], archive: Path) -> str:
    parts = cut.get("supervisions") or ()
    if not isinstance(parts, list | tuple) or not all(isinstance(part, dict) for part in parts):
        raise TableError(f"`{archive}`: the supervisions of `{cut['id']}` are damaged")
    speakers = {str(part["speaker"]) for part in parts if part.get("speaker")}
    if len(speakers) != 1:
        raise TableError(
            f"`{archive}`: `{cut['id']}` has {len(speakers)} speakers, not one",
            hint="cut it into parts of one speaker before it is written",
        )
    return speakers.pop()
