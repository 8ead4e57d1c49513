"""What can go wrong, in words for the user, and the exit statuses of the contract."""

import re
from collections.abc import Iterable
from enum import IntEnum

_NO_MEMORY = ("can't allocate memory", "out of memory", "can't start new thread")
_LATE_READER = re.compile(r"DataLoader timed out after ([\d.]+) seconds")
_DEAD_READER = re.compile(r"DataLoader worker \(pid(?:\(s\))? ([\d, ]+)\) ([^\n.]*)")


class ExitStatus(IntEnum):
    """Exit statuses of every command."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    SKIPPED = 3
    INTERRUPTED = 130


class SvError(Exception):
    """A mistake that the user can mend: what, where, and what to do.

    Parameters
    ----------
    message : str
        One line without a full stop: what is wrong and where (`file:line` or the key).
    hint : str or None
        One line: what to do about it.
    """

    status = ExitStatus.FAILED

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\nhint: {self.hint}" if self.hint else self.message


class TableError(SvError):
    """A table, archive, specifier or data directory that is not as it should be."""


class AudioError(SvError):
    """A recording that cannot be read, or has not the form asked for."""


class ShapeError(SvError):
    """Arrays whose sizes do not fit together."""


class CheckpointError(SvError):
    """A model or training state that is damaged, foreign, or of another kind."""


class TrainingError(SvError):
    """A training run that cannot go on."""


class SettingsError(SvError):
    """Wrong settings or arguments; all problems are reported at once."""

    status = ExitStatus.USAGE


def explain(error: RuntimeError) -> SvError | None:
    """Return a RuntimeError of torch in words for the user; None for a mistake of ours.

    That is a lack of memory, and a process that reads data and hangs or was killed.
    """
    text = str(error)
    if any(sign in text for sign in _NO_MEMORY):
        return SvError("out of memory", hint="give it more, smaller batches or fewer processes")
    late = _LATE_READER.search(text)
    if late is not None:
        return SvError(
            f"no data came for {float(late[1]):g} s: a process that reads them hangs",
            hint="see whether the recordings can be read, then go on with `--resume`; "
            "`engine.timeout_seconds` waits longer",
        )
    dead = _DEAD_READER.search(text)
    if dead is None:
        return None
    return SvError(
        f"a process that reads data (pid {dead[1]}) {dead[2].strip(' .')}",
        hint="the machine may be out of memory; start again with `--resume`",
    )


def name_some(keys: Iterable[str], *, limit: int = 5) -> str:
    """Return the first few keys in backticks, and how many more there are.

    Examples
    --------
    >>> name_some(["a", "b", "c"], limit=2)
    '`a`, `b` and 1 more'
    """
    keys = list(keys)
    text = ", ".join(f"`{key}`" for key in keys[:limit])
    return f"{text} and {len(keys) - limit} more" if len(keys) > limit else text
