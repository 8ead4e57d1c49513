"""`svtool score-job`."""

import contextlib
from pathlib import Path
from typing import Annotated

import typer

from sv_cli import logs
from sv_cli.commands.skipping import MaxSkipped, finish
from sv_cli.nightly.settings import JobSettings
from sv_cli.settings.model import build_settings
from sv_cli.settings.toml import Layers, describe_settings, parse_overrides, read_recipe


def score_job(
    job: Annotated[str, typer.Argument(metavar="JOB.toml", help="Settings of the job (TOML).")],
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Change one setting; may be repeated."),
    ] = None,
    show_settings: Annotated[
        bool, typer.Option("--show-settings", help="Print all settings and their origin, and end.")
    ] = False,
    max_skipped: MaxSkipped = 0,
) -> None:
    r"""Score what is new against an enrolled set, and append each row exactly once.

    Made for cron: a run looks at a directory or a wav.scp, extracts the recordings that no run
    has scored, and appends `enroll test score` to OUT/results.txt. A run that was killed is
    completed by the next. Files that are still being written are left for the next run; one that
    cannot be read is tried max_attempts times. OUT/summary.json reports what the run did. The
    job runs in the folder of JOB.toml: there all relative paths start.

    \b
    Examples:
      $ svtool score-job job.toml --set out=out/night
      $ svtool score-job job.toml --show-settings | grep settle

    \b
    See also: extract, score, asnorm, identify
    """
    layers = Layers()
    for origin, values in read_recipe(job):
        layers.add(values, origin=origin)
    layers.add(parse_overrides(set_ or []), origin="--set")
    settings = build_settings(JobSettings, layers.values, where=f"`{job}`")
    if show_settings:
        logs.data(describe_settings(settings, layers))
        return
    from sv_cli.nightly.run import run_job

    with contextlib.chdir(Path(job).parent):
        tally = run_job(settings)
    what = f"scored {tally.scored} new recordings in {tally.rows} rows, {tally.waiting} waiting"
    finish(what, done=tally.scored, skipped=len(tally.failed), max_skipped=max_skipped)
