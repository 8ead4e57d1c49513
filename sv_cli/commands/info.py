"""`svtool info`."""

from typing import Annotated

import typer

from sv_cli import logs


def info(
    json_: Annotated[
        bool, typer.Option("--json", help="One JSON object.", show_envvar=False)
    ] = False,
) -> None:
    r"""Tell versions, devices, and which extras work: what a report of a problem should hold.

    \b
    Examples:
      $ svtool info
      $ svtool info --json | grep torch

    \b
    See also: models, demo
    """
    import json

    from sv_cli.extraction.environment import describe

    found = describe()
    if json_:
        logs.data(json.dumps(found, indent=1) + "\n")
    else:
        width = max(map(len, found))
        logs.data("".join(f"{key:<{width}}  {value}\n" for key, value in found.items()))
    logs.summary(f"told {len(found)} facts", done=len(found), skipped=0)
