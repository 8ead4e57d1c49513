"""`svtool demo`."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated, Literal

import typer

from sv_cli import logs
from sv_cli.atomic import atomic_open
from sv_cli.commands.demo_steps import Step, demo_steps
from sv_cli.errors import SvError
from sv_cli.workers import num_cores

_RECORD = ".demo.json"
_STDERR = 2


def demo(
    directory: Annotated[Path, typer.Argument(metavar="[DIR]", help="Folder to work in.")] = Path(
        "demo"
    ),
    size: Annotated[
        Literal["tiny", "small", "default"], typer.Option(help="Size of the synthetic corpus.")
    ] = "default",
    num_procs: Annotated[
        int | None, typer.Option(min=1, help="Processes [default: all processors].")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the corpus and of training.")] = 0,
    resume: Annotated[
        bool, typer.Option("--resume", help="Skip what is finished; print the table.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Do all again in a used DIR.")] = False,
) -> None:
    r"""Run the whole chain on a synthetic corpus, from nothing to a table of systems.

    Each step is shown as the command that a user would type, and runs as such in DIR. The result
    table goes to stdout, DET curves to DIR/det.png.

    \b
    Examples:
      $ svtool demo out/demo --size tiny
      $ svtool demo out/demo --size tiny --resume | head -n 3

    \b
    See also: prepare demo, train, extract, eval
    """
    done = _finished(directory, resume=resume, force=force)
    steps = demo_steps(size, num_procs or num_cores(), seed)
    logs.info(f"working in `{directory}`", directory=str(directory))
    for step in steps:
        if step.prints or " ".join(step.argv) not in done:
            _run(step, directory, resume=resume, force=force or resume)
            _record(directory, done, step)
    logs.summary(f"ran {len(steps)} commands in `{directory}`", done=len(steps), skipped=0)


def _run(step: Step, directory: Path, *, resume: bool, force: bool) -> None:
    again = "--resume" if resume and step.resumable else "--force" if force else ""
    argv = [*step.argv, again] if again else list(step.argv)
    logs.command_line(" ".join(["svtool", *argv]), comment=step.title)
    start = time.monotonic()
    status = _wait_for(_start(argv, directory, stdout=None if step.prints else _STDERR))
    if status:
        raise SvError(
            f"`svtool {step.argv[0]}` ended with status {status}",
            hint="go on from here with `--resume`",
        )
    logs.debug(f"{step.title}: {time.monotonic() - start:.1f} s")


def _start(argv: list[str], directory: Path, *, stdout: int | None) -> subprocess.Popen[bytes]:
    source = str(Path(__file__).parents[2])
    path = os.pathsep.join(filter(None, [source, os.environ.get("PYTHONPATH")]))
    command = [sys.executable, "-m", "sv_cli", *argv]
    env = {**os.environ, "PYTHONPATH": path}
    return subprocess.Popen(command, cwd=directory, env=env, stdout=stdout)


def _wait_for(child: subprocess.Popen[bytes]) -> int:
    try:
        return child.wait()
    except BaseException:  # interrupted: the step cleans up, then this command ends
        child.terminate()
        child.wait()
        raise


def _finished(directory: Path, *, resume: bool, force: bool) -> set[str]:
    """Return the lines that are done already; make the folder where there is none."""
    if directory.is_dir() and any(directory.iterdir()) and not (resume or force):
        raise SvError(
            f"`{directory}` is not empty", hint="use `--resume` to go on, `--force` to do it again"
        )
    directory.mkdir(parents=True, exist_ok=True)
    record = directory / _RECORD
    if force or not record.exists():
        return set()
    return set(json.loads(record.read_text(encoding="utf-8")))


def _record(directory: Path, done: set[str], step: Step) -> None:
    done.add(" ".join(step.argv))
    with atomic_open(directory / _RECORD) as stream:
        json.dump(sorted(done), stream, indent=1)
