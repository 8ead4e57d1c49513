"""What DATA names: a data directory, a wav.scp, an archive of recordings -> utterances to read."""

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from sv_cli.audio.archive import index_archive
from sv_cli.errors import SettingsError, TableError
from sv_cli.tables.datadir import DataDir, Utterance, report_commands
from sv_cli.tables.specifier import is_pipe, open_input, parse_rspecifier
from sv_cli.tables.text import read_table


@contextmanager
def open_source(data: str) -> Iterator[list[Utterance]]:
    """Give the utterances of a data directory or wav rspecifier.

    An archive that comes through a pipe is kept in a temporary file until the block ends.

    Raises
    ------
    TableError
        When a table is missing or wrong.
    """
    if not is_pipe(data) and data not in ("", "-") and Path(data).is_dir():
        yield _read_directory(Path(data))
        return
    spec = parse_rspecifier(data, wanted="wav.scp")
    if spec.kind == "scp":
        wav = read_table(spec.rx, what="wav.scp")
        report_commands(wav, spec.rx)
        yield [Utterance(utt, rx) for utt, rx in wav.items()]
    elif spec.beside is not None:
        yield _read_archive(spec.beside)
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


def _read_directory(path: Path) -> list[Utterance]:
    if not (path / "wav.scp").is_file():
        hint = "give a data directory, `scp:wav.scp` or `ark:wav.ark`"
        raise TableError(f"`{path}` has no wav.scp", hint=hint)
    return DataDir.load(path).recordings()


def _read_archive(path: Path) -> list[Utterance]:
    place = path.absolute()
    return [Utterance(utt, f"{place}:{offset}") for utt, offset in index_archive(path).items()]
