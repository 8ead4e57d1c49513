"""Utterance ids that keep Kaldi's order: sorted by utterance is sorted by speaker, too.

Kaldi's scripts want both orders to agree, which holds when an id starts with its speaker, a
hyphen follows, and no speaker id is the start of another one that goes on with a character
sorting before the hyphen.
"""

import re
from collections.abc import Iterable, Sequence
from itertools import pairwise

from sv_cli import logs
from sv_cli.errors import TableError, name_some

_BLANKS = re.compile(r"[ \t\n\r\v\f\0]+")
_LOW = re.compile(r"[!-\-]")  # what sorts up to the hyphen


def speaker_ids(names: Iterable[str]) -> dict[str, str]:
    """Return name -> speaker id: blanks become `_`, and so do low characters that break the order.

    Raises
    ------
    TableError
        When two names would become one id.
    """
    ids = {name: _BLANKS.sub("_", name) for name in sorted(set(names))}
    if not _keeps_order(sorted(map(_bytes, ids.values()))):
        ids = {name: _LOW.sub("_", spk) for name, spk in ids.items()}
        logs.warn("characters that sort before `-` are written `_` in speaker ids")
    owner: dict[str, str] = {}
    for name, spk in ids.items():
        if spk in owner:
            raise TableError(f"speakers `{owner[spk]}` and `{name}` would both be `{spk}`")
        owner[spk] = name
    return ids


def utterance_ids(speakers: Sequence[str], names: Sequence[str]) -> list[str]:
    """Return an id for each utterance: its name where all names keep the order, else `spk-name`.

    Parameters
    ----------
    speakers, names : sequence of str
        Speaker id and name of each utterance.

    Raises
    ------
    TableError
        When two utterances of a speaker have one name.
    """
    names = [_BLANKS.sub("_", name) for name in names]
    if _are_ids(speakers, names):
        return names
    ids = [
        name if name.startswith(f"{spk}-") else f"{spk}-{name}"
        for spk, name in zip(speakers, names, strict=True)
    ]
    seen: set[str] = set()
    twice = {utt for utt in ids if utt in seen or seen.add(utt)}  # type: ignore[func-returns-value]
    if twice:
        raise TableError(
            f"{len(twice)} utterance ids come up twice: {name_some(sorted(twice))}",
            hint="files that differ in the suffix alone? choose one with `--pattern '*.wav'`",
        )
    return ids


def _are_ids(speakers: Sequence[str], names: Sequence[str]) -> bool:
    pairs = sorted((_bytes(name), _bytes(spk)) for spk, name in zip(speakers, names, strict=True))
    return all(name.startswith(spk) and len(name) > len(spk) for name, spk in pairs) and all(
        a[0] != b[0] and a[1] <= b[1] for a, b in pairwise(pairs)
    )


def _keeps_order(speakers: list[bytes]) -> bool:
    # Any id that sorts between a speaker and one that it starts also starts with it, so that
    # looking at neighbours is enough.
    return not any(
        second.startswith(first) and second[len(first) : len(first) + 1] <= b"-"
        for first, second in pairwise(speakers)
    )


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
