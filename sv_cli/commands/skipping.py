"""Options and the last line of commands that may leave items out."""

from typing import Annotated

import typer

from sv_cli import logs
from sv_cli.errors import ExitStatus

AllowMissing = Annotated[
    bool,
    typer.Option("--allow-missing", help="Leave out what has no embedding, and count it."),
]
MaxSkipped = Annotated[
    int,
    typer.Option("--max-skipped", min=0, help="Most utterances left out with status 0."),
]
Force = Annotated[bool, typer.Option("--force", help="Write over existing outputs.")]


def finish(what: str, *, done: int, skipped: int = 0, max_skipped: int = 0) -> None:
    """Say the last line; status 3 when more was left out than allowed."""
    logs.summary(f"{what}, skipped {skipped}", done=done, skipped=skipped)
    if skipped > max_skipped:
        raise typer.Exit(ExitStatus.SKIPPED)
