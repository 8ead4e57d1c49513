"""MUSAN: noise, music and speech of others, to be mixed into training utterances.

Licence: CC BY 4.0. From: https://www.openslr.org/17/
"""

import re
from pathlib import Path

from pydantic import Field

from sv_cli.corpora.archives import ArchiveOptions, check_archives
from sv_cli.corpora.corpus import Corpus, Job, Prepared
from sv_cli.corpora.files import match_files, read_lines
from sv_cli.corpora.listing import Listed, measure_parts, write_data_dir
from sv_cli.errors import SettingsError, name_some

ARCHIVES = {"musan.tar.gz": "0c472d4fc0c5141eca47ad1ffeb2a7df"}
KINDS = ("noise", "music", "speech")
_PATH = re.compile(
    r"(?:.*/)?(?P<kind>noise|music|speech)/(?P<collection>[^/]+)/(?P<utt>[^/]+)\.(?:wav|flac)"
)
# Second to fourth column of ANNOTATIONS, by kind: speech has a gender and a language, music
# genres and whether somebody sings.
_COLUMNS = {"speech": ("gender", "lang"), "music": ("genre", "vocals"), "noise": ()}


class MusanSettings(ArchiveOptions):
    """Options of `prepare musan`."""

    collections: str = Field(
        "",
        description="Only these, as 'free-sound,sound-bible' (the noise of 3D-Speaker's recipe is "
        "free-sound alone) [default: all].",
    )


def prepare_musan(job: Job, settings: MusanSettings) -> Prepared:
    """Write OUT/noise, OUT/music and OUT/speech; each recording is its own speaker."""
    assert job.source is not None
    check_archives(settings.check_archives, ARCHIVES, job.num_procs)
    looks_like = "noise/free-sound/noise-free-sound-0000.wav"
    matches = match_files(job.source, _PATH, looks_like=looks_like)
    wanted = _wanted({match["collection"] for match in matches}, settings.collections)
    notes: dict[Path, dict[str, dict[str, str]]] = {}
    parts: dict[str, list[Listed]] = {}
    genders: dict[str, str] = {}
    for match in matches:
        kind, collection, utt = match["kind"], match["collection"], match["utt"]
        if collection not in wanted:
            continue
        path = job.source / match.string
        if path.parent not in notes:
            notes[path.parent] = read_annotations(path.parent / "ANNOTATIONS", kind)
        columns = {"collection": collection, **notes[path.parent].get(utt, {})}
        if (gender := columns.pop("gender", "").lower()) in ("m", "f"):
            genders[utt] = gender
        parts.setdefault(kind, []).append(Listed(utt, utt, path, columns=columns))
    measured, skipped = measure_parts(parts, job)
    for kind, part in measured.items():
        gender = {item.spk: genders[item.spk] for item in part.items if item.spk in genders}
        write_data_dir(part, job.out / kind, job, gender=gender)
    done = sum(len(part.items) for part in measured.values())
    return Prepared(done, skipped, tuple(job.out / kind for kind in measured))


def read_annotations(path: Path, kind: str) -> dict[str, dict[str, str]]:
    """Return recording -> what ANNOTATIONS says of it; {} where there is no such file."""
    names = _COLUMNS[kind]
    notes: dict[str, dict[str, str]] = {}
    for _, line in read_lines(path) if path.is_file() else ():
        utt, *fields = line.split()
        notes[utt] = dict(zip(names, fields, strict=False))
    return notes


def _wanted(present: set[str], text: str) -> set[str]:
    wanted = {name.strip() for name in text.split(",") if name.strip()}
    missing = sorted(wanted - present)
    if missing:
        raise SettingsError(
            f"`--collections {text}`: no `{missing[0]}`; there are {name_some(sorted(present))}"
        )
    return wanted or present


CORPUS = Corpus(
    name="musan",
    summary="MUSAN: noise, music and speech to mix into training utterances",
    licence="CC BY 4.0",
    origin="https://www.openslr.org/17/",
    settings=MusanSettings,
    prepare=prepare_musan,
    source="Folder of `noise`, `music` and `speech`.",
    examples=(
        "svtool prepare musan corpora/musan out/musan",
        "svtool prepare musan corpora/musan out/free-sound --collections free-sound &&"
        " cut -d ' ' -f 2- out/free-sound/noise/wav.scp | head",
    ),
)
