"""RIRS_NOISES: impulse responses of rooms, simulated and real, and noises of points and rooms.

Licence: Apache 2.0. From: https://www.openslr.org/28/
"""

import re
from pathlib import Path

from sv_cli.corpora.archives import ArchiveOptions, check_archives
from sv_cli.corpora.corpus import Corpus, Job, Prepared
from sv_cli.corpora.files import match_files, read_lines
from sv_cli.corpora.listing import Listed, measure_parts, write_data_dir
from sv_cli.errors import TableError

ARCHIVES = {"rirs_noises.zip": "e6f48e257286e05de56413b4779d8ffb"}
_PATH = re.compile(
    r"(?:.*/)?simulated_rirs/(?P<size>small|medium|large)room/(?P<room>[^/]+)/(?P<file>[^/]+)\.wav"
    r"|(?P<folder>(?:.*/)?(?P<part>pointsource_noises|real_rirs_isotropic_noises))"
    r"/(?P<name>[^/]+)\.wav"
)
_POINTS = "pointsource_noises"
_LOOKS_LIKE = "simulated_rirs/smallroom/Room001/Room001-00001.wav"


class RirsSettings(ArchiveOptions):
    """Options of `prepare rirs`."""


def prepare_rirs(job: Job, settings: RirsSettings) -> Prepared:
    """Write OUT/{smallroom,mediumroom,largeroom,real,pointsource,isotropic}, what there is of it.

    Each recording is its own speaker; a response has its room in utt2room.
    """
    check_archives(settings.check_archives, ARCHIVES, job.num_procs)
    measured, skipped = measure_parts(list_parts(job.source), job)
    for name, part in measured.items():
        write_data_dir(part, job.out / name, job)
    done = sum(len(part.items) for part in measured.values())
    return Prepared(done, skipped, tuple(job.out / name for name in measured))


def list_parts(source: Path | None) -> dict[str, list[Listed]]:
    """Return the recordings below RIRS_NOISES by kind, unopened."""
    parts: dict[str, list[Listed]] = {}
    rooms: dict[str, dict[str, str]] = {}
    for match in match_files(source, _PATH, looks_like=_LOOKS_LIKE):
        assert source is not None
        if match["size"]:
            part = f"{match['size']}room"
            utt, room = f"{part}-{match['file']}", f"{part}-{match['room']}"
        else:
            if match["folder"] not in rooms:
                rooms[match["folder"]] = read_rooms(source / match["folder"] / "rir_list")
            # MUSAN has noises of these names, too.
            utt = f"pointsource-{match['name']}" if match["part"] == _POINTS else match["name"]
            room = rooms[match["folder"]].get(match["name"], "")
            part = _part(match, rooms[match["folder"]])
        columns = {"room": room} if room else {}
        parts.setdefault(part, []).append(Listed(utt, utt, source / match.string, columns=columns))
    return parts


def read_rooms(path: Path) -> dict[str, str]:
    """Return response -> room of a rir_list: `--rir-id X --room-id Y RIRS_NOISES/.../NAME.wav`.

    Raises
    ------
    TableError
        Names `file:line` of a line without a room.
    """
    rooms: dict[str, str] = {}
    for where, line in read_lines(path) if path.is_file() else ():
        fields = line.split()
        if "--room-id" not in fields[:-2]:
            raise TableError(f"`{where}`: no `--room-id ROOM` before a file")
        rooms[Path(fields[-1]).stem] = fields[fields.index("--room-id") + 1]
    return rooms


def _part(match: re.Match[str], rooms: dict[str, str]) -> str:
    if match["part"] == _POINTS:
        return "pointsource"
    if rooms:
        return "real" if match["name"] in rooms else "isotropic"
    return "isotropic" if "_noise_" in match["name"] else "real"


CORPUS = Corpus(
    name="rirs",
    summary="RIRS_NOISES: room impulse responses, simulated and real, and noises",
    licence="Apache 2.0",
    origin="https://www.openslr.org/28/",
    settings=RirsSettings,
    prepare=prepare_rirs,
    source="Folder RIRS_NOISES.",
    examples=(
        "svtool prepare rirs corpora/RIRS_NOISES out/rirs",
        "svtool prepare rirs corpora/RIRS_NOISES out/rirs2 && cat out/rirs2/*/utt2room |"
        " cut -d ' ' -f 2 | sort -u",
    ),
)
