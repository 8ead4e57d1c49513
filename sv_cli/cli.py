"""The Typer app: one line a command, loaded when it is called.

The only place that turns an error into a message and an exit status.
"""

import functools
import importlib
import inspect
import os
import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import Annotated, Any, Literal

import typer
from typer.models import OptionInfo

from sv_cli import __version__, logs
from sv_cli.errors import ExitStatus, SvError, explain
from sv_cli.lock import release_claims
from sv_cli.memory import collect_cycles_rarely
from sv_cli.settings.signature import replace_signature
from sv_cli.workers import is_first_to_tell, torchrun_rank

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
# name, where its function is (below sv_cli.commands), what it does; in the order of the chain
COMMANDS: tuple[tuple[str, str, str], ...] = (
    ("prepare", "prepare:list_corpora", "Make data directories and trials from a corpus."),
    ("prepare *", "prepare:verbs", ""),
    ("data", "", "Check, mend, choose, split and join data directories."),
    ("data validate", "data:validate", ""),
    ("data fix", "data:fix", ""),
    ("data info", "data:info", ""),
    ("data subset", "data:subset", ""),
    ("data split", "data:split", ""),
    ("data combine", "data:combine", ""),
    ("data copy", "data:copy", ""),
    ("data filter", "data:filter", ""),
    ("data overlap", "overlap:overlap", ""),
    ("data perturb-speed", "data_audio:perturb_speed", ""),
    ("data resample", "data_audio:resample", ""),
    ("data play", "data_audio:play", ""),
    ("data to-shar", "data_shar:to_shar", ""),
    ("data to-lhotse", "data_lhotse:to_lhotse", ""),
    ("data from-lhotse", "data_lhotse:from_lhotse", ""),
    ("data new", "new_data:new", ""),
    ("make-fbank", "make_fbank:make_fbank", "Compute log-Mel filter banks as Kaldi does."),
    ("make-vad", "make_vad:make_vad", "Mark the frames that are speech, by energy."),
    ("models", "models:models", "List the networks, or describe one."),
    ("train", "train:train", "Train a speaker encoder, on one process or many."),
    ("average", "average:average", "Average the weights of several models."),
    ("import", "import_:import_weights", "Import weights that another project published."),
    ("export", "export:export", "Export a model as an ONNX graph."),
    ("extract", "extract:extract", "Extract speaker embeddings."),
    ("mean", "mean:mean", "Average embeddings by speaker or enrolment model."),
    ("score", "score:score", "Score trials by the cosine."),
    ("score-job", "score_job:score_job", "Score what is new, night after night."),
    ("identify", "identify:identify", "Find the speaker of each test among all enrolled."),
    ("verify", "verify:verify", "Decide whether two recordings are of the same speaker."),
    ("asnorm", "asnorm:asnorm", "Normalise scores by a cohort."),
    ("plda", "", "Train, adapt and score by PLDA, in Kaldi's format."),
    ("plda train", "plda:train", ""),
    ("plda lda", "plda:lda", ""),
    ("plda transform", "plda:transform", ""),
    ("plda adapt", "plda:adapt", ""),
    ("plda copy", "plda:copy", ""),
    ("plda score", "plda:score", ""),
    ("plda dense", "plda:dense", ""),
    ("qmf", "", "Weigh the quality of recordings into scores."),
    ("qmf measure", "qmf:measure", ""),
    ("qmf trials", "qmf:trials", ""),
    ("qmf train", "qmf:train", ""),
    ("qmf apply", "qmf:apply", ""),
    ("calibrate", "", "Map scores to log-likelihood ratios."),
    ("calibrate train", "calibrate:train", ""),
    ("calibrate apply", "calibrate:apply", ""),
    ("calibrate threshold", "calibrate:threshold", ""),
    ("fuse", "", "Fuse the scores of several systems."),
    ("fuse train", "fuse:train", ""),
    ("fuse apply", "fuse:apply", ""),
    ("fuse mean", "fuse:mean", ""),
    ("decide", "calibrate:decide", "Accept or reject each trial."),
    ("eval", "eval:evaluate", "Evaluate scores: EER, minDCF, Cllr, plots."),
    ("info", "info:info", "Report where a file comes from, or versions and devices."),
    ("demo", "demo:demo", "Run the whole chain on a synthetic corpus."),
)

GROUPS = frozenset(name.split()[0] for name, _, _ in COMMANDS if " " in name)

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
    """SIGTERM or SIGHUP, handled as Ctrl-C is: half-written files are removed on the way out."""


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


def build_app(only: str | None = None) -> typer.Typer:
    """Return the app; with `only`, the other commands are names that load no module."""
    app = typer.Typer(
        name="svtool",
        help="Speaker verification on the command line: from recordings to EER.",
        no_args_is_help=True,
        invoke_without_command=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={**CONTEXT, "auto_envvar_prefix": "SVTOOL"},
    )
    app.callback()(start)
    groups: dict[str, typer.Typer] = {}
    for name, place, summary in COMMANDS:
        first, _, verb = name.partition(" ")
        if only not in (None, first):
            if not verb:
                app.command(name, help=summary)(_name_only)
        elif name in GROUPS:
            groups[name] = _make_group(place, summary)
            app.add_typer(groups[name], name=name, short_help=summary)
        elif verb == "*":
            for each, function in _load(place)().items():
                _register(groups[first], each, function, None)
        else:
            _register(groups.get(first, app), verb or name, _load(place), summary or None)
    return app


def _make_group(place: str, summary: str) -> typer.Typer:
    """Return a command of several verbs; `place` may name the options of the group itself."""
    callback = _load(place) if place else None
    text = _help(callback) if callback else summary
    group = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help=text)
    if callback:
        group.callback(invoke_without_command=True)(callback)
    return group


def _register(
    app: typer.Typer, name: str, function: Callable[..., None], summary: str | None
) -> None:
    register = app.command(name, help=_help(function), short_help=summary, context_settings=CONTEXT)
    register(_with_common_options(function))


def _load(place: str) -> Any:
    module, _, attribute = place.partition(":")
    return getattr(importlib.import_module(f"sv_cli.commands.{module}"), attribute)


def _help(function: Callable[..., None]) -> str:
    r"""Return the docstring with the written `\b` as the sign that keeps lines as they are."""
    return inspect.cleandoc(function.__doc__ or "").replace("\\b\n", "\b\n")


def _name_only() -> None:
    """Placeholder in the list of commands."""


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
    collect_cycles_rarely()
    signal.signal(signal.SIGTERM, _terminate)
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # as nohup sets it
        signal.signal(signal.SIGHUP, _terminate)
    try:
        body()
    except SvError as error:
        if debug:
            raise
        if is_first_to_tell(error.message):
            logs.error(error.message, hint=error.hint)
        raise typer.Exit(error.status) from error
    except BrokenPipeError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        logs.error("the reader of the output went away")
        raise typer.Exit(ExitStatus.FAILED) from error
    except KeyboardInterrupt as error:
        if torchrun_rank()[0] == 0:
            logs.error("terminated" if isinstance(error, Terminated) else "interrupted")
        raise typer.Exit(ExitStatus.INTERRUPTED) from error
    except MemoryError as error:
        logs.error("out of memory")
        raise typer.Exit(ExitStatus.FAILED) from error
    except RuntimeError as error:
        explained = explain(error)
        if explained is None or debug:
            raise
        logs.error(explained.message, hint=explained.hint)
        raise typer.Exit(explained.status) from error
    finally:
        release_claims()


def _terminate(signum: int, frame: FrameType | None) -> None:
    raise Terminated


def __getattr__(name: str) -> typer.Typer:
    """Give `sv_cli.cli.app`, with all commands loaded."""
    if name != "app":
        raise AttributeError(name)
    return build_app()


def main() -> None:
    """Entry point of the console script: only the command that is called is loaded."""
    known = {name for name, _, _ in COMMANDS}
    words = [word for word in sys.argv[1:] if not word.startswith("-")]
    called = words[0] if words else ""
    completing = any(name.endswith("_COMPLETE") for name in os.environ)
    is_plain = called in known or not called
    build_app(called if is_plain and not completing else None)(prog_name="svtool")
