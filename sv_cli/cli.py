"""The Typer app: one line a command; the only place that turns an error into an exit status."""

import functools
import inspect
import os
import signal
import sys
from collections.abc import Callable, Mapping
from types import FrameType
from typing import Annotated, Any, Literal

import typer
from typer.models import OptionInfo

from sv_cli import __version__, logs
from sv_cli.commands import (
    asnorm,
    average,
    calibrate,
    data,
    demo,
    eval,
    extract,
    fuse,
    make_fbank,
    make_vad,
    mean,
    models,
    plda,
    prepare,
    qmf,
    score,
    train,
)
from sv_cli.errors import ExitStatus, SvError
from sv_cli.settings.flags import replace_signature

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
app = typer.Typer(
    name="svtool",
    help="Speaker verification on the command line: from recordings to EER.",
    no_args_is_help=True,
    invoke_without_command=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={**CONTEXT, "auto_envvar_prefix": "SVTOOL"},
)

Quiet = Annotated[
    bool,
    typer.Option("--quiet", "-q", help="Only warnings and errors on stderr.", show_envvar=False),
]
Verbose = Annotated[
    bool, typer.Option("--verbose", "-v", help="Say more on stderr.", show_envvar=False)
]
LogFormat = Annotated[
    Literal["text", "json"],
    typer.Option("--log-format", help="Form of the messages on stderr.", show_envvar=False),
]
NoPipes = Annotated[
    bool,
    typer.Option(
        "--no-pipes", help="Refuse shell pipes in specifiers and wav.scp.", show_envvar=False
    ),
]
Debug = Annotated[
    bool, typer.Option("--debug", help="Show the traceback of an error.", show_envvar=False)
]
COMMON: dict[str, tuple[Any, Any]] = {
    "quiet": (Quiet, False),
    "verbose": (Verbose, False),
    "log_format": (LogFormat, "text"),
    "no_pipes": (NoPipes, False),
    "debug": (Debug, False),
}


class Terminated(KeyboardInterrupt):
    """SIGTERM, handled as Ctrl-C is: everything half-written is removed on the way out."""


@app.callback()
def start(
    ctx: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", show_envvar=False)
    ] = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    log_format: LogFormat = "text",
    no_pipes: NoPipes = False,
    debug: Debug = False,
) -> None:
    """Speaker verification on the command line: from recordings to EER."""
    if version:
        logs.data(f"svtool {__version__}\n")
        raise typer.Exit(ExitStatus.DONE)
    ctx.obj = {
        "quiet": quiet,
        "verbose": verbose,
        "no_pipes": no_pipes,
        "debug": debug,
        "log_format": log_format,
    }


def command(name: str, function: Callable[..., None], group: typer.Typer = app) -> None:
    """Register a command with the options that all commands share."""
    help_text = inspect.cleandoc(function.__doc__ or "").replace("\\b\n", "\b\n")
    register = group.command(name, help=help_text, context_settings=CONTEXT)
    register(_with_common_options(function))


def group(
    name: str,
    summary: str,
    functions: Mapping[str, Callable[..., None]],
    *,
    callback: Callable[..., None] | None = None,
) -> None:
    """Register a command of several verbs, as `plda train` and `plda score`.

    `callback` has the options of the group itself, as `prepare --list`.
    """
    text = inspect.getdoc(callback) if callback else summary
    subapp = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help=text)
    if callback:
        subapp.callback(invoke_without_command=True)(callback)
    for verb, function in functions.items():
        command(verb, function, subapp)
    app.add_typer(subapp, name=name)


def _with_common_options(function: Callable[..., None]) -> Callable[..., None]:
    own = list(inspect.signature(function).parameters.values())

    @functools.wraps(function)
    def run(ctx: typer.Context, **arguments: Any) -> None:
        common = {name: arguments.pop(name) for name in COMMON}
        above = ctx.obj or {}
        common = {
            name: above.get(name) if common[name] == COMMON[name][1] else common[name]
            for name in COMMON
        }
        _configure(ctx, common)
        _run_to_exit(functools.partial(function, **arguments), debug=bool(common["debug"]))

    keyword = inspect.Parameter.KEYWORD_ONLY
    shared = [
        inspect.Parameter(name, keyword, default=default, annotation=annotation)
        for name, (annotation, default) in COMMON.items()
    ]
    own = [_without_env_note(p.replace(kind=keyword)) for p in own]
    context = inspect.Parameter("ctx", keyword, annotation=typer.Context)
    replace_signature(run, [context, *own, *shared])
    return run


def _without_env_note(parameter: inspect.Parameter) -> inspect.Parameter:
    """Leave `[env var: ...]` out of the help: every option has one, named by one rule."""
    for note in getattr(parameter.annotation, "__metadata__", ()):
        if isinstance(note, OptionInfo):
            note.show_envvar = bool(note.envvar)
    return parameter


def _configure(ctx: typer.Context, common: dict[str, Any]) -> None:
    name = ctx.command_path.removeprefix("svtool ").removeprefix("python -m sv_cli ")
    logs.configure(
        command=name,
        quiet=bool(common["quiet"]),
        verbose=bool(common["verbose"]),
        log_format=common["log_format"] or "text",
    )
    if common["no_pipes"]:
        os.environ["SVTOOL_NO_PIPES"] = "1"  # worker processes inherit it


def _run_to_exit(body: Callable[[], None], *, debug: bool) -> None:
    """Run a command; errors become one message and the exit status of the contract."""
    signal.signal(signal.SIGTERM, _terminate)
    try:
        body()
    except SvError as error:
        if debug:
            raise
        logs.error(error.message, hint=error.hint)
        raise typer.Exit(error.status) from error
    except BrokenPipeError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        logs.error("the reader of the output went away")
        raise typer.Exit(ExitStatus.FAILED) from error
    except KeyboardInterrupt as error:
        logs.error("terminated" if isinstance(error, Terminated) else "interrupted")
        raise typer.Exit(ExitStatus.INTERRUPTED) from error
    except MemoryError as error:
        logs.error("out of memory")
        raise typer.Exit(ExitStatus.FAILED) from error


def _terminate(signum: int, frame: FrameType | None) -> None:
    raise Terminated


group(
    "prepare",
    "Data directories and trial lists from a corpus.",
    prepare.verbs(),
    callback=prepare.list_corpora,
)
group(
    "data",
    "Data directories: check, mend, choose, split, join.",
    {
        "validate": data.validate,
        "fix": data.fix,
        "info": data.info,
        "subset": data.subset,
        "split": data.split,
        "combine": data.combine,
        "copy": data.copy,
        "filter": data.filter,
    },
)
command("make-fbank", make_fbank.make_fbank)
command("make-vad", make_vad.make_vad)
command("demo", demo.demo)
command("train", train.train)
command("models", models.models)
command("average", average.average)
command("eval", eval.evaluate)
group(
    "calibrate",
    "Scores to log-likelihood ratios, and thresholds.",
    {"train": calibrate.train, "apply": calibrate.apply, "threshold": calibrate.threshold},
)
command("decide", calibrate.decide)
group(
    "fuse",
    "Several systems' scores to one.",
    {"train": fuse.train, "apply": fuse.apply},
)
group(
    "qmf",
    "Quality measures of utterances, weighed into scores.",
    {
        "measure": qmf.measure,
        "trials": qmf.trials,
        "train": qmf.train,
        "apply": qmf.apply,
    },
)
command("extract", extract.extract)
command("mean", mean.mean)
command("score", score.score)
command("asnorm", asnorm.asnorm)
group(
    "plda",
    "Probabilistic linear discriminant analysis, in Kaldi's file format.",
    {
        "train": plda.train,
        "lda": plda.lda,
        "transform": plda.transform,
        "adapt": plda.adapt,
        "copy": plda.copy,
        "score": plda.score,
        "dense": plda.dense,
    },
)


def main() -> None:
    """Entry point of the console script."""
    app(prog_name="svtool")
