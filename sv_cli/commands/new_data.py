"""`svtool data new`: a tiny data directory to start from."""

from pathlib import Path
from typing import Annotated

import typer

from sv_cli import logs
from sv_cli.atomic import refuse_overwrite
from sv_cli.commands.skipping import Force
from sv_cli.lock import claim_folder


def new(
    template: Annotated[
        str,
        typer.Argument(help="train, cohort (cut by segments), eval (with trials), noise or rirs."),
    ],
    out: Annotated[Path, typer.Argument(help="Directory to write.", metavar="OUT")],
    force: Force = False,
) -> None:
    r"""Copy a tiny valid data directory of a kind, with its audio, to look at or to fill.

    \b
    Examples:
      $ svtool data new train out/my-train
      $ svtool data new eval out/my-eval && cut -d ' ' -f 3 out/my-eval/trials | sort | uniq -c

    \b
    See also: data validate, prepare
    """
    from sv_cli.tables.datadir.templates import copy_template

    claim_folder(out)
    refuse_overwrite(out / "utt2spk", force=force)
    data = copy_template(template, out)
    tables = ", ".join(sorted(data.tables()))
    logs.info(f"tables: {tables}")
    logs.summary(f"wrote {len(data.utts)} utterances to `{out}`", done=len(data.utts), skipped=0)
