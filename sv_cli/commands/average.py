"""`svtool average`."""

from pathlib import Path
from typing import Annotated

import typer

from sv_cli import logs
from sv_cli.errors import SettingsError
from sv_cli.lock import claim_outputs


def average(
    models: Annotated[
        list[str], typer.Argument(metavar="MODEL... OUT", help="Models, then the file to write.")
    ],
    last: Annotated[
        int, typer.Option("--last", min=0, help="Take the last N epochs of one directory MODEL.")
    ] = 0,
    force: Annotated[bool, typer.Option("--force", help="Overwrite OUT.")] = False,
) -> None:
    r"""Write the mean of the weights of several models of one run.

    The classifier heads are averaged with the networks, for fine-tuning (`train --init OUT`).

    \b
    Examples:
      $ svtool average --last 2 exp/eres2net out/average.pt
      $ (ls exp/eres2net/epoch-*.pt; echo out/mean.pt) | xargs svtool average
    \b
    See also: train, extract
    """
    if len(models) < 2:
        raise SettingsError("needs at least one MODEL and OUT")
    *sources, out = models
    claim_outputs(out, force=force)
    from sv_cli.checkpoints.average import average_models, last_epochs
    from sv_cli.checkpoints.model_file import save_model

    paths = last_epochs(sources[0], last) if last else [Path(source) for source in sources]
    mean = average_models(paths)
    save_model(out, mean)
    head = "with" if mean.head else "without"
    logs.summary(
        f"averaged {len(paths)} models into `{out}`, {head} classifier head",
        done=len(paths),
        skipped=0,
    )
