"""scp files: key -> place in an archive. An archive in the folder of the scp has precedence.

`emb/xvector.scp` names `emb/xvector.ark:16` by a path that may be relative to another folder, or
that still means the original after `cp -r` or `mv`. Where an archive of the same name is in the
folder of the scp, that archive is meant.
"""

from pathlib import Path

from sv_cli.tables.kaldi.entries import split_range
from sv_cli.tables.kaldi.specifier import is_pipe, strip_offset
from sv_cli.tables.text import read_table


def read_scp(source: str) -> dict[str, str]:
    """Return key -> place of an scp; archives next to the scp replace those of the same name.

    Raises
    ------
    TableError
        Names `file:line` of a blank line or a duplicate key.
    """
    table = read_table(source, what="scp")
    moved = _moved(source, _archives(table))
    if not moved:
        return table
    return {key: _replaced(place, moved) for key, place in table.items()}


def archives_of(scp: Path) -> list[Path]:
    """Return the archives that an scp names, in the order of their first entries."""
    names = _archives(read_scp(str(scp)))
    return [Path(name) for name in names if Path(name).is_file()]


def archive_name(place: str) -> str:
    """Return the file of an scp entry, without offset and range."""
    return strip_offset(split_range(place)[0])


def _archives(table: dict[str, str]) -> list[str]:
    """Return the distinct files of the entries; commands are left out."""
    # The text before the last colon is the file of nearly every entry: a set of few names.
    heads = dict.fromkeys(
        place if place.endswith(("]", "|")) else place.rpartition(":")[0] or place
        for place in table.values()
    )
    names = (archive_name(head) for head in heads if not is_pipe(head))
    return list(dict.fromkeys(names))


def _moved(source: str, names: list[str]) -> dict[str, str]:
    if source in ("", "-") or is_pipe(source):
        return {}
    folder = Path(source).parent
    siblings = {name: str(folder / Path(name).name) for name in names}
    return {
        name: place for name, place in siblings.items() if name != place and Path(place).is_file()
    }


def _replaced(place: str, moved: dict[str, str]) -> str:
    name = archive_name(place)
    return moved[name] + place[len(name) :] if name in moved else place
