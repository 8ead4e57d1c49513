"""The record of a run: `train.log` for people, `log.jsonl` for programs, progress on stderr."""

import json
import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from sv_cli import logs
from sv_cli.atomic import appending, write_all
from sv_cli.errors import SettingsError


class Journal:
    """Appends to the two logs of an experiment directory; only the first process has one."""

    def __init__(self, exp_dir: Path, *, active: bool, tensorboard: bool = False) -> None:
        self._active = active
        self._curves: Any = None
        self._open_curves = find_curves(exp_dir) if active and tensorboard else None
        self._text = exp_dir / "train.log"
        self._lines = exp_dir / "log.jsonl"
        self._begun = False

    def write(self, event: str, **fields: Any) -> None:
        """Append one event to both logs.

        Raises
        ------
        SvError
            When the disk is full.
        """
        if not self._active:
            return
        self._end_last_lines()
        stamp = time.strftime("%Y-%m-%d %H:%M:%S")
        values = "  ".join(f"{name} {_short(value)}" for name, value in fields.items())
        _append(self._text, f"{stamp}  {event}  {values}\n")
        record = {"time": stamp, "event": event, **fields}
        _append(self._lines, json.dumps(record) + "\n")
        if self._open_curves is not None:
            self._curves = self._curves or self._open_curves()
            for name, value in fields.items():
                if isinstance(value, float):
                    self._curves.add_scalar(f"{event}/{name}", value, fields["step"])

    def _end_last_lines(self) -> None:
        """End lines that were broken off by a kill or a full disk, so that new ones stay whole."""
        for path in (self._text, self._lines):
            if not self._begun and _is_broken_off(path):
                _append(path, "\n")
        self._begun = True

    def close(self) -> None:
        """Let what watches the curves see the last of them."""
        if self._curves is not None:
            self._curves.close()

    def say(self, message: str, **fields: Any) -> None:
        """Print a line, once for all processes."""
        if self._active:
            logs.info(message, **fields)


def find_curves(folder: Path) -> Callable[[], Any]:
    """Return what opens curves for TensorBoard in `folder/tensorboard`; nothing is written yet.

    Raises
    ------
    SettingsError
        When it is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise SettingsError(
            "`engine.tensorboard`: TensorBoard is not installed",
            hint="`pip install 'svtool[tensorboard]'`",
        ) from error
    return partial(SummaryWriter, folder / "tensorboard")


def _append(path: Path, text: str) -> None:
    with appending(path, hint="make room, then start again with `--resume`") as descriptor:
        write_all(descriptor, text.encode())


def _is_broken_off(path: Path) -> bool:
    """Return whether the last line of a file has no end."""
    if not path.is_file() or path.stat().st_size == 0:
        return False
    with path.open("rb") as stream:
        stream.seek(-1, os.SEEK_END)
        return stream.read() != b"\n"


def _short(value: Any) -> str:
    return f"{value:.5g}" if isinstance(value, float) else str(value)
