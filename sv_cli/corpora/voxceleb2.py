"""VoxCeleb2: 6112 celebrities in interviews, 1.1 million utterances; dev (to train on) and test.

Licence: CC BY 4.0. From: https://www.robots.ox.ac.uk/~vgg/data/voxceleb/vox2.html
"""

from collections.abc import Mapping
from pathlib import Path

from sv_cli import logs
from sv_cli.corpora.archives import ArchiveOptions, check_archives
from sv_cli.corpora.corpus import Corpus, Job, Prepared
from sv_cli.corpora.files import find_beside, read_lines
from sv_cli.corpora.listing import Listed, measure_parts, write_data_dir
from sv_cli.corpora.voxceleb_files import (
    Clip,
    UttIdOptions,
    find_clips,
    genders,
    listed_clips,
    read_speaker_table,
    warn_misplaced,
)
from sv_cli.errors import TableError

ARCHIVES = {
    "vox2_dev_aac.zip": "bbc063c46078a602ca71605645c2a402",
    "vox2_aac.zip": "bbc063c46078a602ca71605645c2a402",
    "vox2_dev_aac_partaa": "da070494c573e5c0564b1d11c3b20577",
    "vox2_dev_aac_partab": "17fe6dab2b32b48abaf1676429cdd06f",
    "vox2_dev_aac_partac": "1de58e086c5edf63625af1cb6d831528",
    "vox2_dev_aac_partad": "5a043eb03e15c5a918ee6a52aad477f9",
    "vox2_dev_aac_partae": "cea401b624983e2d0b2a87fb5d59aa60",
    "vox2_dev_aac_partaf": "fc886d9ba90ab88e7880ee98effd6ae9",
    "vox2_dev_aac_partag": "d160ecc3f6ee3eed54d55349531cb42e",
    "vox2_dev_aac_partah": "6b84a81b9af72a9d9eecbb3b1f602e65",
    "vox2_test_aac.zip": "0d2b3ea430a821c33263b5ea37ede312",
}
META = "vox2_meta.csv"
LANGUAGES = "lang_vox2_final.csv"


class Voxceleb2Settings(ArchiveOptions, UttIdOptions):
    """Options of `prepare voxceleb2`."""


def prepare_voxceleb2(job: Job, settings: Voxceleb2Settings) -> Prepared:
    """Write OUT/dev and OUT/test, with spk2gender and utt2lang where the tables are there."""
    assert job.source is not None
    check_archives(settings.check_archives, ARCHIVES, job.num_procs)
    clips = find_clips(job.source, "0")
    speakers = read_speaker_table(find_beside(META, job.source))
    languages = read_languages(find_beside(LANGUAGES, job.source))
    sets = choose_sets(clips, speakers)
    warn_misplaced(clips, sets)
    parts: dict[str, list[Listed]] = {}
    for item in listed_clips(clips, settings.utt_id_style, languages):
        parts.setdefault(sets[item.spk], []).append(item)
    measured, skipped = measure_parts(parts, job)
    for name, part in measured.items():
        write_data_dir(part, job.out / name, job, gender=genders(speakers))
    done = sum(len(part.items) for part in measured.values())
    return Prepared(done, skipped, tuple(job.out / name for name in measured))


def choose_sets(clips: list[Clip], speakers: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """Return speaker -> "dev" or "test": by vox2_meta.csv, else by the folder, else dev."""
    sets = {spk: row["set"] for spk, row in speakers.items() if row["set"] in ("dev", "test")}
    guessed = set()
    for clip in clips:
        if clip.spk not in sets:
            sets[clip.spk] = clip.folder or "dev"
            if clip.folder is None:
                guessed.add(clip.spk)
    if guessed:
        logs.warn(
            f"{len(guessed)} speakers are taken for dev: no `{META}` and no folder `dev` or "
            "`test` tells their set"
        )
    return sets


def read_languages(path: Path | None) -> dict[str, dict[str, str]]:
    """Return path of a clip -> {"lang": language}; the table is `path,language` lines."""
    languages: dict[str, dict[str, str]] = {}
    for where, line in read_lines(path) if path else ():
        name, comma, language = line.partition(",")
        if not comma:
            raise TableError(f"`{where}`: no comma, expected `path,language`")
        clip = str(Path(name.strip()).with_suffix(".wav"))
        languages[clip] = {"lang": "_".join(language.split())}
    return languages


CORPUS = Corpus(
    name="voxceleb2",
    summary="VoxCeleb2: dev and test, from wav, flac, or m4a through ffmpeg",
    licence="CC BY 4.0",
    origin="https://www.robots.ox.ac.uk/~vgg/data/voxceleb/vox2.html",
    settings=Voxceleb2Settings,
    prepare=prepare_voxceleb2,
    source="Folder above `idXXXXX/VIDEO/NNNNN.m4a` (or wav, flac).",
    examples=(
        "svtool prepare voxceleb2 corpora/voxceleb out/vox2",
        "svtool prepare voxceleb2 corpora/voxceleb out/vox2-b --num-procs 2 &&"
        " cut -d ' ' -f 2 out/vox2-b/dev/utt2spk | uniq -c",
    ),
)
