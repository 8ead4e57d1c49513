"""What people read: messages, progress and result tables on stderr; the only file that uses rich.

stdout belongs to data. `configure` is called once by the command line; library code calls
`info`, `warn` and `progress` and never prints.
"""

import json
import os
import re
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any, Protocol

from sv_cli.errors import SvError


@dataclass
class _State:
    command: str = "svtool"
    level: int = 1  # 0 quiet, 1 normal, 2 verbose
    json_lines: bool = False


_state = _State()
_INTERVAL_SECONDS = 10.0
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def configure(*, command: str, quiet: bool, verbose: bool, log_format: str) -> None:
    """Set how this process talks; called by the command line before a command runs."""
    _state.command = command
    _state.level = 0 if quiet else 2 if verbose else 1
    _state.json_lines = log_format == "json"


def command() -> str:
    """Return the name of the command that runs, as `data fix`."""
    return _state.command


def silence() -> None:
    """Keep all but warnings back: the other processes of a group speak through the first."""
    _state.level = 0


def debug(message: str, **fields: Any) -> None:
    """Say something that only `--verbose` shows."""
    if _state.level >= 2:
        _emit("debug", message, fields)


def info(message: str, **fields: Any) -> None:
    """Say what is being done; `fields` become columns of the JSON form."""
    if _state.level >= 1:
        _emit("info", message, fields)


def warn(message: str, **fields: Any) -> None:
    """Say what the user should look at."""
    _emit("warning", message, fields)


def error(message: str, *, hint: str | None = None) -> None:
    """Say why the command ends."""
    _emit("error", message, {"hint": hint} if hint else {})
    if hint and not _state.json_lines:
        _write(f"hint: {hint}")


def summary(message: str, **counts: int) -> None:
    """Say the last line of a command: how many were done and skipped."""
    _emit("summary", message, counts)


def command_line(line: str, *, comment: str) -> None:
    """Show a command that is about to run, as a person types it."""
    if _state.json_lines:
        _emit("info", comment, {"command_line": line})
    elif _state.level >= 1:
        _write(f"\n# {comment}\n$ {line}")


def data(text: str) -> None:
    """Write text to stdout, which carries nothing but data."""
    with stdout() as stream:
        stream.write(text.encode("utf-8", "surrogateescape"))


@contextmanager
def stdout() -> Iterator[IO[bytes]]:
    """Give stdout as a binary stream, which is flushed at the end.

    Raises
    ------
    SvError
        When it is closed or its disk is full.
    """
    if sys.stdout is None:
        raise SvError("standard output is closed")
    try:
        sys.stdout.flush()
        yield sys.stdout.buffer
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        # what is still buffered would fail again when the process ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SvError(f"cannot write standard output: {error.strerror or error}") from error


def is_terminal() -> bool:
    """Return whether stderr is a terminal."""
    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"


def _emit(level: str, message: str, fields: dict[str, Any]) -> None:
    if _state.json_lines:
        record = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "level": level,
            "command": _state.command,
            "message": message,
            **fields,
        }
        line = json.dumps(record, ensure_ascii=False, default=str)
        _write(_CONTROLS.sub(lambda found: f"\\u{ord(found[0]):04x}", line))
        return
    prefix = {"warning": "warning: ", "error": "error: "}.get(level, "")
    _write(f"svtool {_state.command}: {prefix}{message}")


def printable(text: str) -> str:
    r"""Return the text with control characters as `\xNN`; line ends and tabs stay.

    Ids and file names come from elsewhere and could otherwise steer the terminal.
    """
    return _CONTROLS.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


def _write(line: str) -> None:
    try:
        sys.stderr.write(printable(line) + "\n")
        sys.stderr.flush()
    except OSError:  # its reader went away, or its disk is full: the work goes on unheard
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


class Progress(Protocol):
    """Something that counts finished items."""

    def advance(self, count: int = 1, **fields: Any) -> None:
        """Count `count` more items; `fields` are shown after the bar."""


class _LineProgress:
    """One line an interval, for logs and cron."""

    def __init__(self, what: str, total: int | None, unit: str, before: int) -> None:
        self._what, self._total, self._unit, self._before = what, total, unit, before
        self._done, self._start = before, time.monotonic()
        self._next = self._start + _INTERVAL_SECONDS

    def advance(self, count: int = 1, **fields: Any) -> None:
        self._done += count
        now = time.monotonic()
        if now >= self._next and _state.level >= 1:
            self._next = now + _INTERVAL_SECONDS
            info(self._line(now, fields), done=self._done, total=self._total, **fields)

    def _line(self, now: float, fields: dict[str, Any]) -> str:
        rate = (self._done - self._before) / max(now - self._start, 1e-9)
        text = f"{self._what}: {self._done}"
        if self._total:
            left = (self._total - self._done) / max(rate, 1e-9)
            text += f"/{self._total}, {_clock(left)} left"
        text += f", {rate:.1f} {self._unit}/s"
        return text + "".join(f", {key} {value}" for key, value in fields.items())


class _BarProgress:
    """A bar with rate and ETA, for a terminal."""

    def __init__(self, bar: Any, task: Any) -> None:
        self._bar, self._task = bar, task

    def advance(self, count: int = 1, **fields: Any) -> None:
        shown = "  ".join(f"{key} {value}" for key, value in fields.items())
        self._bar.update(self._task, advance=count, shown=shown)


@contextmanager
def progress(
    what: str, *, total: int | None = None, unit: str = "utt", done: int = 0
) -> Iterator[Progress]:
    """Count items: a bar on a terminal, one line an interval elsewhere, nothing with `--quiet`.

    `done` of them were done by an earlier start, and do not count for the rate.
    """
    if _state.level == 0 or _state.json_lines or not is_terminal():
        yield _LineProgress(what, total, unit, done)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as RichProgress

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _rate_column(unit),
        TimeRemainingColumn(),
        TextColumn("{task.fields[shown]}"),
    )
    with RichProgress(*columns, console=Console(stderr=True), transient=False) as bar:
        task = bar.add_task(what, total=total, completed=done, shown="")
        yield _BarProgress(bar, task)


def _rate_column(unit: str) -> Any:
    from rich.progress import ProgressColumn, Task
    from rich.text import Text

    class RateColumn(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text("" if task.speed is None else f"{task.speed:.1f} {unit}/s", style="dim")

    return RateColumn()


def format_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a plain aligned table: the first column to the left, the others to the right."""
    lines = [list(header), *[list(row) for row in rows]]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    rendered = []
    for line in lines:
        first = line[0].ljust(widths[0])
        rest = [cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True)]
        rendered.append("  ".join([first, *rest]).rstrip())
    rendered.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(rendered) + "\n"


def _clock(seconds: float) -> str:
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute}:{second:02d}"
