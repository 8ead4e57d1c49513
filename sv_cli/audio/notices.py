"""Things worth saying once, not once for each of a million recordings."""

from collections.abc import Iterator
from contextlib import contextmanager

from sv_cli import logs

_said: set[str] = set()
_collected: list[set[str]] = []


def say_once(message: str) -> None:
    """Warn, the first time that this process meets `message`."""
    if _collected:
        _collected[-1].add(message)
    elif message not in _said:
        _said.add(message)
        logs.warn(message)


@contextmanager
def collect() -> Iterator[set[str]]:
    """Keep messages instead of saying them: a worker hands them to the process that speaks."""
    messages: set[str] = set()
    _collected.append(messages)
    try:
        yield messages
    finally:
        _collected.pop()
