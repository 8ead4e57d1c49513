"""VoxSRC 2020 to 2023: the validation trials of the VoxCeleb Speaker Recognition Challenges.

Licence: that of VoxCeleb (CC BY 4.0). From: https://mm.kaist.ac.kr/datasets/voxceleb/voxsrc/
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field

from sv_cli import logs
from sv_cli.audio.suffixes import AUDIO_SUFFIXES
from sv_cli.corpora.corpus import Corpus, Job, Prepared
from sv_cli.corpora.files import walk
from sv_cli.corpora.listing import Listed, measure_parts, write_data_dir
from sv_cli.corpora.trial_lists import (
    ListOptions,
    PublishedList,
    find_list,
    read_published,
    write_trial_list,
)
from sv_cli.errors import TableError

_ROBOTS = "https://www.robots.ox.ac.uk/~vgg/data/voxceleb/"
_GITHUB = "https://raw.githubusercontent.com/"
LISTS = {
    "2020": (
        PublishedList(
            "trials.txt",
            "trials",
            "VoxSRC 2020 validation",
            _GITHUB + "a-nagrani/VoxSRC2020/master/data/verif/",
        ),
    ),
    "2021": (
        PublishedList(
            "voxsrc2021_val.txt",
            "trials",
            "VoxSRC 2021 validation",
            _ROBOTS + "data_workshop_2021/",
        ),
    ),
    # The corrected list replaces the first one where it is there.
    "2022": (
        PublishedList(
            "voxsrc2022_dev_fixed.txt",
            "trials",
            "VoxSRC 2022 validation",
            _ROBOTS + "data_workshop_2022/",
        ),
        PublishedList(
            "voxsrc2022_dev.txt",
            "trials",
            "VoxSRC 2022 validation",
            _ROBOTS + "data_workshop_2022/",
        ),
    ),
    "2023": (
        PublishedList(
            "VoxSRC2023_val.txt",
            "trials",
            "VoxSRC 2023 validation",
            _GITHUB + "JaesungHuh/VoxSRC2023/921510f3851e059341979fa06d84da3cd4098a1d/data/verif/",
        ),
    ),
}
_SPEAKER = re.compile(r"id\d{5}")
_MOST_PARTS = 4  # voxceleb1/idXXXXX/VIDEO/NNNNN.wav


class VoxsrcSettings(ListOptions):
    """Options of `prepare voxsrc`."""

    year: Literal["2020", "2021", "2022", "2023"] = Field(
        "2023", description="Which challenge's validation trials."
    )
    voxceleb1: str = Field(
        "", description="Folder of VoxCeleb1, of which 2020 to 2022 use recordings, if not SOURCE."
    )


def prepare_voxsrc(job: Job, settings: VoxsrcSettings) -> Prepared:
    """Write OUT with the recordings that the trials name, and OUT/trials.

    Recordings of VoxCeleb keep their speaker; of the others nobody says who speaks, and each is
    its own speaker.
    """
    assert job.source is not None
    roots = [job.source, *([Path(settings.voxceleb1)] if settings.voxceleb1 else [])]
    item, path = _find_list(job, settings)
    trials = read_published(path)
    wanted = sorted({*trials.enroll_ids, *trials.test_ids})
    files = index_files(roots)
    items = [listed for name in wanted if (listed := locate(name, files)) is not None]
    if not items:
        raise TableError(f"`{job.source}`: none of {len(wanted)} recordings of `{path}` is there")
    measured, skipped = measure_parts({".": items}, job)
    kept = measured["."]
    readable = {listed.utt for listed in kept.items}
    names = {
        _canonical(name): listed
        for name in wanted
        if (listed := locate(name, files)) is not None and listed.utt in readable
    }
    skipped += write_trial_list(
        path, job.out / item.trials, names, settings, known_as=item.known_as
    )
    write_data_dir(kept, job.out, job)
    return Prepared(len(kept.items), skipped, (job.out,))


def index_files(roots: Sequence[Path]) -> dict[str, Path]:
    """Return the ends of paths (1 to 4 parts, `/` written `-`, no suffix) -> recording.

    The roots come in order: what the first has is not taken from the second.
    """
    files: dict[str, Path] = {}
    for root in roots:
        if not root.is_dir():
            raise TableError(f"`{root}`: no such folder")
        for name in walk(root):
            if Path(name).suffix.lower() in AUDIO_SUFFIXES | {".m4a"}:
                parts = Path(root.name, name).with_suffix("").parts
                for count in range(1, min(_MOST_PARTS, len(parts)) + 1):
                    files.setdefault("-".join(parts[-count:]), root / name)
    return files


def locate(name: str, files: dict[str, Path]) -> Listed | None:
    """Return the utterance that a list names, by its path with or without the corpus in front."""
    parts = Path(name).with_suffix("").parts
    short = parts[1:] if len(parts) > 1 and not _SPEAKER.fullmatch(parts[0]) else parts
    path = files.get("-".join(parts)) or files.get("-".join(short))
    if path is None:
        return None
    if not _SPEAKER.fullmatch(short[0]):
        utt = "-".join(parts)
        return Listed(utt, utt, path)
    # `voxceleb1_cd` holds other recordings of the same speakers, numbered without a video.
    middle = [] if len(short) == 3 else ["cd"]
    return Listed("-".join([short[0], *middle, *short[1:]]), short[0], path)


def _find_list(job: Job, settings: VoxsrcSettings) -> tuple[PublishedList, Path]:
    published = LISTS[settings.year]
    for fetching in (False, True) if settings.fetch else (False,):
        for item in published:
            path = find_list(item, job, settings, fetching=fetching)
            if path is not None:
                logs.info(f"trials of VoxSRC {settings.year}: `{path}`")
                return item, path
    first = published[0]
    raise TableError(
        f"VoxSRC {settings.year}: no `{first.file}` in `{settings.lists or job.source}`",
        hint=f"bring it from {first.address} and name its folder with `--lists`, or use `--fetch`",
    )


def _canonical(name: str) -> str:
    from sv_cli.metrics.lists import canonical_name

    return canonical_name(name)


CORPUS = Corpus(
    name="voxsrc",
    summary="VoxSRC validation trials of 2020, 2021, 2022 or 2023, and their recordings",
    licence="CC BY 4.0, as VoxCeleb",
    origin="https://mm.kaist.ac.kr/datasets/voxceleb/voxsrc/",
    settings=VoxsrcSettings,
    prepare=prepare_voxsrc,
    source="Folder of the challenge's recordings (2021: of VoxCeleb1).",
    examples=(
        "svtool prepare voxsrc corpora/voxsrc2023 out/voxsrc2023",
        "svtool prepare voxsrc corpora/voxsrc2022 out/voxsrc2022 --year 2022"
        " --voxceleb1 corpora/voxceleb && cut -d ' ' -f 3 out/voxsrc2022/trials | sort | uniq -c",
    ),
)
