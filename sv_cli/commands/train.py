"""`svtool train`."""

import os
import sys
from typing import Annotated

import typer

from sv_cli import logs
from sv_cli.errors import SettingsError
from sv_cli.lock import lock_folder
from sv_cli.settings.model import build_settings
from sv_cli.settings.toml import Layers, describe_settings, parse_overrides, read_recipe
from sv_cli.training.settings import TrainSettings


def train(
    data: Annotated[str, typer.Option("--data", help="Training data directory.")] = "",
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
    force: Annotated[bool, typer.Option("--force", help="Start anew over an old run.")] = False,
    show_settings: Annotated[
        bool, typer.Option("--show-settings", help="Print all settings and their origin, and end.")
    ] = False,
) -> None:
    r"""Train a speaker encoder on a data directory, on one process or many.

    Settings come from, in rising order: defaults, the recipe's `extends`, the recipe, flags and
    `--set`. EXP_DIR receives state.pt (for `--resume`), best.pt, final.pt, epoch-NNN.pt,
    settings.toml, train.log and log.jsonl.

    \b
    Examples:
      $ svtool train --model ecapa --data data/train --exp-dir out/ecapa --set num_epochs=1
      $ svtool train --model eres2net --data data/train --show-settings | grep '^schedule'

    \b
    See also: extract, models, prepare
    """
    layers = collect_settings(model, config, set_ or [])
    settings = build_settings(TrainSettings, layers.values, where="settings")
    if show_settings:
        logs.data(describe_settings(settings, layers))
        return
    if not data or not exp_dir:
        raise SettingsError("`--data` and `--exp-dir` are needed")
    if num_procs > 1 and "RANK" not in os.environ:
        from sv_cli.training.launch import launch

        launch(sys.argv[1:], num_procs=num_procs)
        return
    from sv_cli.training.run import RunPaths, run_training

    paths = RunPaths(data, exp_dir, dev_data, dev_trials, audio_root)
    with lock_folder(exp_dir, command="train"):
        result = run_training(settings, paths, resume=resume, force=force)
    state = "stopped, `--resume` goes on" if result.stopped else "finished"
    best = "" if result.best_eer is None else f", best dev EER {result.best_eer:.3f} %"
    logs.summary(f"{state} after {result.steps} steps{best}", done=result.steps, skipped=0)


def collect_settings(model: str, config: str, overrides: list[str]) -> Layers:
    """Return the layers of settings below the defaults' surface."""
    layers = Layers()
    if config:
        for origin, values in read_recipe(config):
            layers.add(values, origin=origin)
    if model:
        layers.add({"model": model}, origin="--model")
    layers.add(parse_overrides(overrides), origin="--set")
    return layers
