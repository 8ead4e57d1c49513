"""`svtool prepare CORPUS`: one verb for each corpus of the registry."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from sv_cli import logs
from sv_cli.commands.skipping import Force, MaxSkipped, finish
from sv_cli.corpora.corpus import Corpus, Job
from sv_cli.corpora.registry import CORPORA
from sv_cli.errors import ExitStatus
from sv_cli.settings.flags import settings_flags
from sv_cli.settings.model import Settings
from sv_cli.settings.signature import replace_signature
from sv_cli.workers import num_cores

Out = Annotated[Path, typer.Argument(help="Directory to fill.", show_default=False)]
AudioRoot = Annotated[
    Path | None,
    typer.Option(
        help="Write audio paths relative to this directory [default: absolute paths].",
        envvar="SVTOOL_AUDIO_ROOT",
        show_default=False,
    ),
]
NumProcs = Annotated[
    int | None,
    typer.Option(min=1, help="Files worked on at once [default: all processors]."),
]


def list_corpora(
    ctx: typer.Context,
    list_: Annotated[
        bool,
        typer.Option(
            "--list", help="Print each corpus, its licence, where to get it.", show_envvar=False
        ),
    ] = False,
) -> None:
    r"""Data directories and trial lists from a corpus on disk, or from a synthetic one.

    \b
    Examples:
      $ svtool prepare --list
      $ svtool prepare --list | cut -f 1

    \b
    See also: data, make-fbank, train
    """
    if list_:
        for corpus in CORPORA.values():
            line = (corpus.name, corpus.summary, corpus.licence, corpus.origin)
            logs.data("\t".join(line) + "\n")
        raise typer.Exit(ExitStatus.DONE)
    if ctx.invoked_subcommand is None:
        logs.data(ctx.get_help() + "\n")
        raise typer.Exit(ExitStatus.USAGE)


def verbs() -> dict[str, Callable[..., None]]:
    """Return a command for each corpus: corpus -> function for typer."""
    return {name: _verb(corpus) for name, corpus in CORPORA.items()}


def _verb(corpus: Corpus) -> Callable[..., None]:
    def prepare(
        out: Out,
        settings: Any,
        source: Path | None = None,
        audio_root: AudioRoot = None,
        num_procs: NumProcs = None,
        max_skipped: MaxSkipped = 0,
        force: Force = False,
    ) -> None:
        job = Job(source, out, num_procs or num_cores(), force, audio_root)
        _run(corpus, job, settings, max_skipped)

    _place_source(prepare, corpus)
    prepare.__name__ = f"prepare_{corpus.name}"
    prepare.__doc__ = _help(corpus)
    function: Callable[..., None] = settings_flags("settings", corpus.settings)(prepare)
    return function


def _run(corpus: Corpus, job: Job, settings: Settings, max_skipped: int) -> None:
    prepared = corpus.prepare(job, settings)
    where = ", ".join(f"`{directory}`" for directory in prepared.directories)
    finish(
        f"wrote {prepared.done} utterances to {where}",
        done=prepared.done,
        skipped=prepared.skipped,
        max_skipped=max_skipped,
    )


def _place_source(function: Callable[..., None], corpus: Corpus) -> None:
    """Put SOURCE before OUT, or drop it where the corpus has none."""
    parameters = dict(inspect.signature(function).parameters)
    source = parameters.pop("source")
    if corpus.source:
        argument = typer.Argument(help=corpus.source, show_default=False)
        annotation = Annotated[Path, argument]
        source = source.replace(annotation=annotation, default=inspect.Parameter.empty)
        parameters = {"source": source, **parameters}
    replace_signature(function, list(parameters.values()))


def _help(corpus: Corpus) -> str:
    examples = "\n".join(f"  $ {line}" for line in corpus.examples)
    return (
        f"{corpus.summary}.\n\n"
        f"Licence: {corpus.licence}. From: {corpus.origin}.\n\n"
        f"\b\nExamples:\n{examples}\n\n"
        "\b\nSee also: data, make-fbank, train"
    )
