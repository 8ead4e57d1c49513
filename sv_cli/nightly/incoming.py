"""Which recordings there are, and which of them are ready to be read."""

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from sv_cli import logs
from sv_cli.audio.info import FileState, file_state
from sv_cli.audio.sources import open_source
from sv_cli.errors import TableError
from sv_cli.tables.datadir.directory import Utterance
from sv_cli.tables.kaldi.specifier import is_pipe
from sv_cli.tables.text import sort_key

Form = FileState


@dataclass(frozen=True)
class Incoming:
    """A recording, and the form its file had when it was looked at."""

    utterance: Utterance
    form: Form

    @property
    def key(self) -> str:
        """Name of the recording in the results."""
        return self.utterance.utt


def list_incoming(
    source: str, *, suffixes: Sequence[str], audio_root: str | None
) -> list[Incoming]:
    """Return the recordings of a watched directory, or of a wav.scp or data directory, by key.

    A file of a watched directory is called by its path below that directory; what cannot be in
    a key (blanks, `%`, control characters) is written as `%20`. Hidden files are left out, and
    FIFOs, sockets and devices are reported and left out.

    Raises
    ------
    TableError
        When the source is missing or wrong.
    """
    folder = Path(source)
    if not is_pipe(source) and folder.is_dir() and not (folder / "wav.scp").exists():
        found = list(_walk(folder, tuple(suffix.lower() for suffix in suffixes)))
    else:
        if not is_pipe(source) and ":" not in source and not folder.exists():
            raise TableError(f"`{source}`: no such directory or list of recordings")
        with open_source(source) as utterances:
            found = [Incoming(u, form_of(u, audio_root)) for u in utterances]
    return sorted(found, key=lambda each: sort_key(each.key))


def form_of(utterance: Utterance, audio_root: str | None) -> Form:
    """Return the form that the file of a recording has now."""
    return file_state(utterance.rx, audio_root)


def is_settled(form: Form, seen: tuple[Form, float] | None, *, settle_seconds: float) -> bool:
    """Return whether a file is no longer being written.

    It is when it has not changed for `settle_seconds`. A clock that was set back leaves files
    that changed in the future: of those, one that an earlier run has seen in the same form counts,
    when that was at least that long ago.
    """
    if form is None:
        return True
    now = time.time()
    age = now - form[1] / 1e9
    if age >= 0:
        return age >= settle_seconds
    return seen is not None and seen[0] == form and abs(now - seen[1]) >= settle_seconds


def _walk(folder: Path, suffixes: tuple[str, ...]) -> Iterator[Incoming]:
    stack = [folder]
    while stack:
        try:
            entries = list(os.scandir(stack.pop()))
        except FileNotFoundError:  # removed while we look
            continue
        for entry in entries:
            path = Path(entry.path)
            if entry.name.startswith("."):
                continue
            if entry.is_dir(follow_symlinks=False):
                stack.append(path)
            elif entry.name.lower().endswith(suffixes):
                if not entry.is_file() and path.exists():
                    logs.warn(f"left out `{path}`: not a regular file")
                    continue
                # absolute: `audio_root` is where the paths of a wav.scp start
                utterance = Utterance(_key(path.relative_to(folder)), str(path.absolute()))
                form = form_of(utterance, None)
                if form is not None:
                    yield Incoming(utterance, form)


def _key(path: Path) -> str:
    """Return a path as one word; two paths never become the same."""
    return "".join(_word(letter) for letter in str(path))


def _word(letter: str) -> str:
    if letter == "%" or letter.isspace() or (not letter.isprintable() and ord(letter) < 0xD800):
        return quote(letter, safe="")
    return letter
