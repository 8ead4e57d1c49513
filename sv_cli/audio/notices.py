"""Things worth saying once, not once for each of a million recordings."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

from sv_cli import logs

_NAMED = 20  # utterances left out that are named; the rest is counted
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


def say_part(notices: Iterable[str], skipped: Mapping[str, str], *, before: int) -> None:
    """Pass on what a worker collected: its messages, and why it left utterances out.

    Parameters
    ----------
    notices : iterable of str
    skipped : mapping of str to str
        Utterance to reason.
    before : int
        How many were left out already; only the first few are named.
    """
    for message in notices:
        say_once(message)
    for number, (utt, reason) in enumerate(skipped.items(), before):
        if number < _NAMED:
            logs.warn(f"skipped `{utt}`: {reason}")
        elif number == _NAMED:
            logs.warn("more utterances are skipped; they are counted at the end")
