"""What DATA names: a data directory, a wav.scp, an archive or list of recordings, a recording."""

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from sv_cli.audio.archive import index_archive
from sv_cli.audio.suffixes import AUDIO_SUFFIXES
from sv_cli.errors import SettingsError, TableError
from sv_cli.tables.datadir.directory import DataDir, Utterance, report_commands
from sv_cli.tables.kaldi.specifier import is_pipe, open_input, parse_rspecifier
from sv_cli.tables.text import check_key, read_rows, read_table

_MEANT = "give a data directory, `scp:wav.scp`, `ark:wav.ark`, a recording or a list of paths"
_HEAD_BYTES = 1 << 12
_MOST_FIELDS = 64


@contextmanager
def open_source(data: str) -> Iterator[list[Utterance]]:
    """Give the utterances of a data directory, wav rspecifier, recording, or list of recordings.

    A recording, and each recording of a list of paths (one a line), is keyed by its file name
    without suffix. An archive that comes through a pipe is kept in a temporary file until the block
    ends.

    Raises
    ------
    TableError
        When a table is missing or wrong, or two recordings of a list have one key.
    """
    if not is_pipe(data) and data not in ("", "-") and Path(data).is_dir():
        yield _read_directory(Path(data))
        return
    spec = parse_rspecifier(data, wanted="wav.scp")
    plain = spec.path if spec.rx == data else None  # a path, no specifier
    if plain is not None and plain.suffix.lower() in AUDIO_SUFFIXES:
        yield _key_by_name([data], data)
    elif plain is not None and spec.kind == "ark" and _is_text(plain):
        yield _key_by_name(_read_paths(data), data)
    elif spec.kind == "scp":
        wav = read_table(spec.rx, what="wav.scp")
        report_commands(wav, spec.rx)
        yield [Utterance(utt, rx) for utt, rx in wav.items()]
    elif spec.path is not None:
        yield _read_archive(spec.path)
    else:
        with tempfile.NamedTemporaryFile(suffix=".ark") as kept:
            with open_input(spec.rx) as stream:
                shutil.copyfileobj(stream, kept, 1 << 20)
            kept.flush()
            yield _read_archive(Path(kept.name))


def take_shard(
    utterances: Sequence[Utterance], *, num_shards: int, shard: int
) -> Sequence[Utterance]:
    """Return one of `num_shards` runs of neighbours, counted from 1, as Kaldi's JOB.

    Raises
    ------
    SettingsError
        When there is no such shard.
    """
    if not 1 <= shard <= num_shards:
        raise SettingsError(f"`--shard {shard}`: shards count from 1 to {num_shards}")
    first, end = (len(utterances) * place // num_shards for place in (shard - 1, shard))
    return utterances[first:end]


def _is_text(path: Path) -> bool:
    """Return whether a file is a list, not an archive of recordings: those contain NUL bytes."""
    if not path.is_file():
        raise TableError(f"`{path}`: no such file or directory", hint=_MEANT)
    with path.open("rb") as stream:
        return b"\0" not in stream.read(_HEAD_BYTES)


def _read_paths(source: str) -> list[str]:
    rows = read_rows(source, min_fields=1, max_fields=_MOST_FIELDS, what="list of recordings")
    for line, row in enumerate(rows, start=1):
        if len(row) > 1:
            raise TableError(
                f"`{source}:{line}`: {len(row)} fields, where a list has one path a line",
                hint=f"give a wav.scp as `scp:{source}`",
            )
    return [path for (path,) in rows]


def _key_by_name(paths: Sequence[str], source: str) -> list[Utterance]:
    """Return recordings keyed by their file names without suffix."""
    by_key: dict[str, str] = {}
    for path in paths:
        key = Path(path).stem
        check_key(key)
        if key in by_key:
            raise TableError(
                f"`{source}`: `{by_key[key]}` and `{path}` both have the key `{key}`",
                hint="give a wav.scp (`KEY PATH` lines) as `scp:FILE`",
            )
        by_key[key] = path
    if not by_key:
        raise TableError(f"`{source}` is empty", hint=_MEANT)
    return [Utterance(key, path) for key, path in by_key.items()]


def _read_directory(path: Path) -> list[Utterance]:
    if not (path / "wav.scp").is_file():
        raise TableError(f"`{path}` has no wav.scp", hint=_MEANT)
    return DataDir.load(path).recordings()


def _read_archive(path: Path) -> list[Utterance]:
    place = path.absolute()
    return [Utterance(utt, f"{place}:{offset}") for utt, offset in index_archive(path).items()]
