"""`svtool data`: what Kaldi's utils/*_data_dir.sh do to data directories."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from sv_cli import logs
from sv_cli.atomic import refuse_overwrite
from sv_cli.commands.skipping import Force
from sv_cli.errors import SettingsError, TableError
from sv_cli.lock import claim_folder, claim_outputs

if TYPE_CHECKING:
    from sv_cli.tables.datadir.directory import DataDir

Directory = Annotated[str, typer.Argument(help="Data directory.", metavar="DIR")]
Directories = Annotated[list[str], typer.Argument(help="Data directories.", metavar="DIR...")]
Out = Annotated[str, typer.Argument(help="Data directory to write.", metavar="OUT")]


def validate(
    directories: Directories,
    check_files: Annotated[
        bool, typer.Option("--check-files", help="Also look for the files that tables name.")
    ] = False,
) -> None:
    r"""Report every problem of data directories at once, with its line and remedy.

    Problems go to stdout, one a line; the status is 1 when there are any. Audio is not opened.

    \b
    Examples:
      $ svtool data validate data/train data/dev
      $ svtool data validate --check-files data/eval | sort

    \b
    See also: data fix, data info
    """
    from sv_cli.tables.datadir.directory import validate as find_problems

    count = 0
    for path in directories:
        for problem in find_problems(path, check_files=check_files):
            logs.data(f"{problem}\n")
            count += 1
    if count:
        raise TableError(f"{count} problems", hint="`svtool data fix DIR` mends most of them")
    logs.summary(f"validated {len(directories)}, no problems", done=len(directories), problems=0)


def fix(directories: Directories) -> None:
    r"""Mend data directories in place: sorted, unique, the same utterances in every table.

    The tables before are kept in DIR/.backup, or in DIR/.backup.2 and so on. Utterances that a
    table lacks are dropped and counted; incomplete utt2dur and utt2num_frames are put aside
    instead.

    \b
    Examples:
      $ svtool data fix data/train
      $ svtool data fix data/dev data/eval --log-format json 2>&1 | tail -n 1

    \b
    See also: data validate
    """
    from sv_cli.tables.datadir.fix import fix as mend

    kept = dropped = 0
    for path in directories:
        if Path(path).is_dir():
            claim_folder(path)
        result = mend(path)
        logs.info(f"`{path}`: kept {result.kept} utterances, dropped {result.dropped}")
        kept += result.kept
        dropped += result.dropped
    logs.summary(
        f"kept {kept} utterances, dropped {dropped}", done=len(directories), dropped=dropped
    )


def info(
    directories: Directories,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a directory.")] = False,
) -> None:
    r"""Print what is in data directories: speakers, utterances, hours, tables, problems.

    \b
    Examples:
      $ svtool data info data/train data/dev
      $ svtool data info --json data/eval | grep -c speakers

    \b
    See also: data validate
    """
    from sv_cli.tables.datadir.fix import info as describe

    facts = {path: describe(path) for path in directories}
    if as_json:
        lines = [json.dumps({"directory": path, **facts[path]}) for path in directories]
        logs.data("".join(f"{line}\n" for line in lines))
    else:
        names = list(dict.fromkeys(name for path in directories for name in facts[path]))
        rows = [
            [name, *(str(facts[path].get(name, "-")) for path in directories)] for name in names
        ]
        logs.data(logs.format_table(["", *directories], rows))
    logs.summary(f"described {len(directories)}", done=len(directories))


def subset(
    directory: Directory,
    out: Out,
    count: Annotated[int, typer.Option("--count", "-n", min=1, help="Utterances to take.")],
    how: Annotated[
        Literal["spread", "first", "last", "shortest", "per-speaker", "speakers"],
        typer.Option(
            help="Which: spread evenly, from an end, the shortest, a number of each speaker, or "
            "whole speakers until there are enough."
        ),
    ] = "spread",
    force: Force = False,
) -> None:
    r"""Take some utterances of a data directory; never by chance.

    \b
    Examples:
      $ svtool data subset data/train out/train-20 --count 20
      $ svtool data subset data/train out/train-2each --count 2 --how per-speaker
      $ svtool data subset data/eval out/eval-8 -n 8 --log-format json 2>&1 | tail -n 1

    \b
    See also: data filter, data split
    """
    from sv_cli.tables.datadir.edit import subset as choose

    data = _load(directory)
    _write(choose(data, count, how=how), out, force=force)


def split(
    directory: Directory,
    parts: Annotated[int, typer.Argument(min=1, help="Number of parts.", metavar="N")],
    out: Annotated[
        str | None, typer.Argument(help="Directory of the parts 1 to N [default: DIR/splitN].")
    ] = None,
    per_utt: Annotated[
        bool, typer.Option("--per-utt", help="Split speakers, too (DIR/splitNutt).")
    ] = False,
    force: Force = False,
) -> None:
    r"""Split a data directory into N parts for as many jobs, speakers kept whole.

    \b
    Examples:
      $ svtool data split data/train 2 out/train-split
      $ svtool data split data/eval 3 out/eval-split --per-utt 2>&1 | tail -n 1

    \b
    See also: data combine, data subset
    """
    from sv_cli.tables.datadir.edit import split as cut

    data = _load(directory)
    root = Path(out or Path(directory) / f"split{parts}{'utt' if per_utt else ''}")
    claim_outputs(root, force=force)
    pieces = cut(data, parts, per_utt=per_utt)
    for number, piece in enumerate(pieces, start=1):
        piece.write(root / str(number), replace=True)
    logs.summary(f"wrote {parts} parts of {len(data.utts)} utterances", done=parts, skipped=0)


def combine(
    directories: Directories,
    out: Out,
    force: Force = False,
) -> None:
    r"""Join data directories into one; tables that one of them lacks are left out, and said.

    \b
    Examples:
      $ svtool data combine data/dev data/eval out/dev-eval
      $ svtool data combine data/train data/cohort data/dev out/all 2>&1 | tail -n 1

    \b
    See also: data copy (for prefixes), data split
    """
    from sv_cli.tables.datadir.edit import combine as join

    _write(join([_load(directory) for directory in directories]), out, force=force)


def copy(
    directory: Directory,
    out: Out,
    spk_prefix: Annotated[str, typer.Option(help="Put before each speaker.")] = "",
    utt_prefix: Annotated[str, typer.Option(help="Put before each utterance.")] = "",
    spk_suffix: Annotated[str, typer.Option(help="Append to each speaker.")] = "",
    utt_suffix: Annotated[str, typer.Option(help="Append to each utterance.")] = "",
    spk_as_prefix: Annotated[
        bool, typer.Option("--spk-as-prefix", help="Put its speaker before each utterance.")
    ] = False,
    force: Force = False,
) -> None:
    r"""Copy a data directory, with other names for utterances and speakers where wanted.

    \b
    Examples:
      $ svtool data copy data/dev out/dev-b --spk-prefix b- --utt-prefix b-
      $ svtool data copy data/eval out/eval-copy --quiet 2>&1 | tail -n 1

    \b
    See also: data combine, data filter
    """
    from sv_cli.tables.datadir import edit as datadir_edit

    data = _load(directory)
    if spk_as_prefix:
        data = datadir_edit.prefix_speakers(data)
    data = datadir_edit.copy(
        data,
        spk_prefix=spk_prefix,
        utt_prefix=utt_prefix,
        spk_suffix=spk_suffix,
        utt_suffix=utt_suffix,
    )
    _write(data, out, force=force)


def filter(
    directory: Directory,
    out: Out,
    utts: Annotated[
        str | None, typer.Option(help="File of utterances, the first field of each line; or -.")
    ] = None,
    speakers: Annotated[
        str | None, typer.Option(help="File of speakers, the first field of each line; or -.")
    ] = None,
    exclude: Annotated[
        bool, typer.Option("--exclude", help="Leave the listed ones out instead.")
    ] = False,
    min_seconds: Annotated[float, typer.Option(min=0, help="Shortest duration kept, s.")] = 0.0,
    max_seconds: Annotated[float | None, typer.Option(help="Longest duration kept, s.")] = None,
    min_utts: Annotated[int, typer.Option(min=1, help="Fewest utterances of a speaker.")] = 1,
    force: Force = False,
) -> None:
    r"""Keep the utterances of a data directory that are listed, long enough, or of enough speech.

    \b
    Examples:
      $ svtool data filter data/train out/train-1s --min-seconds 1 --min-utts 2
      $ svtool data filter data/eval out/eval-known --utts data/eval/wav.scp
      $ head -n 4 data/eval/utt2spk | svtool data filter data/eval out/eval-4 --utts -

    \b
    See also: data subset
    """
    data = _listed(_load(directory), utts, speakers, exclude=exclude)
    _write(_within(data, min_seconds, max_seconds, min_utts), out, force=force)


def _listed(data: "DataDir", utts: str | None, speakers: str | None, *, exclude: bool) -> "DataDir":
    from sv_cli.tables.datadir.edit import filter_data
    from sv_cli.tables.text import read_first_fields

    if utts and speakers:
        raise SettingsError("`--utts` and `--speakers` exclude each other")
    if utts:
        return filter_data(data, utts=read_first_fields(utts), exclude=exclude)
    if speakers:
        return filter_data(data, speakers=read_first_fields(speakers), exclude=exclude)
    if exclude:
        raise SettingsError("`--exclude` needs `--utts` or `--speakers`")
    return data


def _within(
    data: "DataDir", min_seconds: float, max_seconds: float | None, min_utts: int
) -> "DataDir":
    from sv_cli.tables.datadir.edit import between_durations, with_enough_utterances

    if min_seconds or max_seconds is not None:
        most = float("inf") if max_seconds is None else max_seconds
        data = between_durations(data, min_seconds, most)
    return with_enough_utterances(data, min_utts) if min_utts > 1 else data


def _load(directory: str) -> "DataDir":
    from sv_cli.tables.datadir.directory import DataDir

    return DataDir.load(directory, extra=True)


def _write(data: "DataDir", out: str, *, force: bool) -> None:
    claim_folder(out)
    refuse_overwrite(Path(out) / "utt2spk", force=force)
    data.write(out, replace=True)
    utts, speakers = len(data.utts), len(data.spk2utt)
    logs.summary(f"wrote {utts} utterances of {speakers} speakers", done=utts, skipped=0)
