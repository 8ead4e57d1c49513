"""`svtool train`."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sv_cli import logs
from sv_cli.errors import SettingsError
from sv_cli.lock import lock_folder
from sv_cli.settings.model import build_settings
from sv_cli.settings.toml import describe_settings
from sv_cli.training.layers import collect_settings
from sv_cli.training.settings import TrainSettings

if TYPE_CHECKING:
    from sv_cli.training.run import RunPaths


def train(
    data: Annotated[str, typer.Option("--data", help="Training data directory, or Shar.")] = "",
    exp_dir: Annotated[str, typer.Option("--exp-dir", help="Experiment directory to fill.")] = "",
    model: Annotated[str, typer.Option("--model", help="Network by name.")] = "",
    config: Annotated[str, typer.Option("--config", help="Recipe (TOML).")] = "",
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Change one setting; may be repeated."),
    ] = None,
    dev_data: Annotated[
        str | None, typer.Option("--dev-data", help="Data directory for the dev EER.")
    ] = None,
    dev_trials: Annotated[
        str | None,
        typer.Option("--dev-trials", help="Trials for the dev EER [default: DEV_DATA/trials]."),
    ] = None,
    audio_root: Annotated[
        str | None,
        typer.Option(
            "--audio-root", envvar="SVTOOL_AUDIO_ROOT", help="Where relative audio paths start."
        ),
    ] = None,
    num_procs: Annotated[
        int, typer.Option("--num-procs", min=1, help="Processes on this machine.")
    ] = 1,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where a run stopped.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Start again over an old run.")] = False,
    init: Annotated[
        str,
        typer.Option("--init", help="Model or experiment directory to take weights from."),
    ] = "",
    bench_loader: Annotated[
        int,
        typer.Option(
            "--bench-loader", metavar="N", min=0, help="Only read N batches, and print how fast."
        ),
    ] = 0,
    report: Annotated[
        str,
        typer.Option(
            "--report",
            metavar="EXP",
            help="Only draw EXP/report.png from its log, and print its validated epochs.",
        ),
    ] = "",
    show_settings: Annotated[
        bool, typer.Option("--show-settings", help="Print all settings and their origin, and end.")
    ] = False,
) -> None:
    r"""Train a speaker encoder on a data directory, on one process or many.

    Settings come from, in rising order: defaults, the model of `--init`, the recipe's `extends`,
    the recipe, flags and `--set`. EXP_DIR receives state.pt (for `--resume`), best.pt, final.pt,
    epoch-NNN.pt, settings.toml, train.log and log.jsonl.

    `--init` takes the network, and the classes that its run knows by name; `--set
    init.inherit=true` takes the settings of that run too, as large-margin fine-tuning does.

    \b
    Examples:
      $ svtool train --model ecapa --data data/train --exp-dir out/ecapa --set num_epochs=1
      $ svtool train --model eres2net --data data/train --show-settings | grep '^schedule'
      $ svtool train --init exp/eres2net --data data/train --exp-dir out/tuned --set num_epochs=1
      $ svtool train --data data/train --bench-loader 3 | grep cpu_ms
      $ svtool train --report exp/eres2net

    \b
    See also: extract, models, prepare
    """
    if report:
        return draw(report)
    layers = collect_settings(model=model, config=config, init=init, overrides=set_)
    settings = build_settings(TrainSettings, layers.values, where="settings")
    if show_settings:
        logs.data(describe_settings(settings, layers))
        return
    if not data or not (exp_dir or bench_loader):
        raise SettingsError("`--data` and `--exp-dir` are needed")
    if num_procs > 1 and "RANK" not in os.environ and not bench_loader:
        return start_processes(num_procs, exp_dir)
    from sv_cli.training.run import RunPaths

    paths = RunPaths(data, exp_dir, dev_data, dev_trials, audio_root)
    if bench_loader:
        measure_loader(settings, paths, bench_loader)
    else:
        run(settings, paths, resume=resume, force=force)


def start_processes(num_procs: int, exp_dir: str) -> None:
    """Run this command line in this number of processes."""
    from sv_cli.training.launch import launch
    from sv_cli.training.run_files import RunFiles

    launch(sys.argv[1:], num_procs=num_procs, state=RunFiles(Path(exp_dir)).state)


def run(settings: TrainSettings, paths: "RunPaths", *, resume: bool, force: bool) -> None:
    """Train and report how it ended."""
    from sv_cli.training.run import run_training

    with lock_folder(paths.exp_dir, command="train"):
        result = run_training(settings, paths, resume=resume, force=force)
    state = "stopped, `--resume` goes on" if result.stopped else "finished"
    best = "" if result.best_eer is None else f", best dev EER {result.best_eer:.3f} %"
    logs.summary(f"{state} after {result.steps} steps{best}", done=result.steps, skipped=0)


def measure_loader(settings: TrainSettings, paths: "RunPaths", num_batches: int) -> None:
    """Print how fast the data path is."""
    from sv_cli.training.run import measure_data_path

    speed = measure_data_path(settings, paths, num_batches)
    logs.data(speed.describe())
    logs.summary(f"read {speed.num_utts} utterances", done=speed.num_utts, skipped=0)


def draw(exp_dir: str) -> None:
    """Draw the picture of a run and print its validated epochs."""
    from sv_cli.training.report import describe_epochs, draw_report, read_log

    picture = draw_report(exp_dir)
    steps, validations = read_log(Path(exp_dir) / "log.jsonl")
    if validations:
        logs.data(describe_epochs(steps, validations))
    logs.summary(f"drew `{picture}`", done=1, skipped=0)
