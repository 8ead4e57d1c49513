"""The record of a run: `train.log` for people, `log.jsonl` for programs, progress on stderr."""

import json
import time
from pathlib import Path
from typing import Any

from sv_cli import logs


class Journal:
    """Appends to the two logs of an experiment directory; only the first process has one."""

    def __init__(self, exp_dir: Path, *, active: bool) -> None:
        self._active = active
        self._text = exp_dir / "train.log"
        self._lines = exp_dir / "log.jsonl"

    def write(self, event: str, **fields: Any) -> None:
        """Append one event to both logs."""
        if not self._active:
            return
        stamp = time.strftime("%Y-%m-%d %H:%M:%S")
        told = "  ".join(f"{name} {_short(value)}" for name, value in fields.items())
        with self._text.open("a", encoding="utf-8") as stream:
            stream.write(f"{stamp}  {event}  {told}\n")
        record = {"time": stamp, "event": event, **fields}
        with self._lines.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(record) + "\n")

    def say(self, message: str, **fields: Any) -> None:
        """Tell the user, once for all processes."""
        if self._active:
            logs.info(message, **fields)


def _short(value: Any) -> str:
    return f"{value:.5g}" if isinstance(value, float) else str(value)
