"""Look into a corpus on disk: its files, and the small text tables that come with it."""

import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from sv_cli import logs
from sv_cli.errors import TableError, name_some


def walk(source: Path) -> Iterator[str]:
    """Yield paths relative to `source`, sorted; links are followed once, hidden names left out."""
    seen: set[tuple[int, int]] = set()
    for folder, folders, files in os.walk(source, followlinks=True):
        status = Path(folder).stat()
        place = (status.st_dev, status.st_ino)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        if place in seen:
            folders.clear()
            continue
        seen.add(place)
        below = Path(folder).relative_to(source)
        yield from ((below / name).as_posix() for name in sorted(files) if not name.startswith("."))


def match_files(
    source: Path | None, expression: re.Pattern[str], *, looks_like: str
) -> list[re.Match[str]]:
    """Return the matches of paths below `source`, sorted by path.

    Raises
    ------
    TableError
        When there is no such folder, or nothing in it `looks_like` the corpus.
    """
    if source is None or not source.is_dir():
        raise TableError(f"`{source}`: no such folder")
    found = [match for match in map(expression.fullmatch, walk(source)) if match]
    if not found:
        raise TableError(
            f"`{source}`: no recordings of this corpus", hint=f"they look like `{looks_like}`"
        )
    return found


def choose_format(
    found: Sequence[re.Match[str]], preference: Sequence[str] = ("wav", "flac", "m4a")
) -> dict[tuple[str, ...], re.Match[str]]:
    """Return one match for each recording, keyed by all groups but `suffix`, and say what is left.

    A tree may hold the same recording twice, before and after conversion.
    """
    chosen: dict[tuple[str, ...], re.Match[str]] = {}
    doubles = []
    for match in found:
        fields = match.groupdict()
        rank = preference.index(fields.pop("suffix"))
        key = tuple(fields.values())
        other = chosen.setdefault(key, match)
        if other is not match:
            doubles.append(match.string)
            if rank < preference.index(other["suffix"]):
                chosen[key] = match
    if doubles:
        logs.info(
            f"{len(doubles)} recordings stand there twice (as {name_some(doubles, limit=1)}); "
            f"taken in this order: {', '.join(preference)}"
        )
    return chosen


def find_beside(name: str, *folders: Path | None) -> Path | None:
    """Return the first file `name` in the folders, or in `meta` and `lists` in them."""
    for folder in folders:
        for below in (".", "meta", "lists"):
            if folder is not None and (path := folder / below / name).is_file():
                return path
    return None


def read_genders(
    path: Path | None, fields_of: Callable[[str], Sequence[str]], *, looks_like: str
) -> dict[str, str]:
    """Return speaker -> m or f of a table of speakers; nothing where there is none.

    Parameters
    ----------
    path : Path or None
        What `find_beside` found.
    fields_of : callable
        Takes a line and gives its speaker, M or F, and what else there is; nothing for a comment.
    looks_like : str
        A line as it should be, for the message.

    Raises
    ------
    TableError
        Names `file:line` of a line without a gender.
    """
    genders: dict[str, str] = {}
    for where, line in [] if path is None else read_lines(path):
        fields = fields_of(line)
        if fields and (len(fields) < 2 or fields[1] not in ("M", "F")):
            raise TableError(f"`{where}`: expected `{looks_like}`")
        if fields:
            genders[fields[0]] = fields[1].lower()
    return genders


def read_lines(path: Path) -> list[tuple[str, str]]:
    """Return (`file:line`, text) of each line that is not blank."""
    try:
        text = path.read_text(encoding="utf-8-sig", errors="surrogateescape")
    except OSError as error:
        raise TableError(f"`{path}`: {error.strerror}") from error
    lines = enumerate(text.split("\n"), start=1)
    return [(f"{path}:{number}", line.strip()) for number, line in lines if line.strip()]


def read_fields(path: Path, count: int, *, what: str) -> list[list[str]]:
    """Return the fields of each line: `count` of them, split on blanks.

    Raises
    ------
    TableError
        Names `file:line` of a line with another number.
    """
    rows = []
    for where, line in read_lines(path):
        fields = line.split()
        if len(fields) != count:
            raise TableError(f"`{where}`: {len(fields)} fields in {what}, expected {count}")
        rows.append(fields)
    return rows
