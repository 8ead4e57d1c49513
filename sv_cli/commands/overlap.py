"""`svtool data overlap`: what training and trials share."""

from typing import Annotated

import typer

from sv_cli import logs
from sv_cli.errors import TableError


def overlap(
    one: Annotated[str, typer.Argument(help="Data directory, say to train on.", metavar="A")],
    two: Annotated[str, typer.Argument(help="Data directory, say of trials.", metavar="B")],
) -> None:
    r"""Print the speakers, utterances and recordings that two data directories share.

    They go to stdout, one a line, the kind first; the status is 1 when there are any. Ids are
    compared as they are, files by their path, so that a copy under other names is not found.

    \b
    Examples:
      $ svtool data overlap data/train data/eval
      $ svtool data overlap data/train data/eval | wc -l

    \b
    See also: data filter (--speakers - --exclude), data validate
    """
    from sv_cli.tables.datadir.directory import DataDir
    from sv_cli.tables.datadir.overlap import find_overlap

    shared = find_overlap(DataDir.load(one), DataDir.load(two))
    logs.data("".join(f"{kind} {name}\n" for kind, name in shared.rows()))
    if rows := shared.rows():
        raise TableError(
            f"`{one}` and `{two}` share {len(shared.speakers)} speakers, "
            f"{len(shared.utterances)} utterances and {len(shared.recordings)} recordings",
            hint="`svtool data filter A OUT --speakers - --exclude` leaves listed speakers out",
        )
    logs.summary(f"`{one}` and `{two}` share nothing", done=2, shared=len(rows))
