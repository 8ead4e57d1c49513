"""3D-Speaker: 10,000 Mandarin and dialect speakers by device and distance; three trial lists.

Licence: CC BY-SA 4.0. From: https://3dspeaker.github.io/
"""

import re
from collections.abc import Mapping
from pathlib import Path

from pydantic import Field

from sv_cli import logs
from sv_cli.corpora.archives import ArchiveOptions, check_archives
from sv_cli.corpora.corpus import Corpus, Job, Prepared
from sv_cli.corpora.files import find_beside, read_fields
from sv_cli.corpora.ids import utterance_ids
from sv_cli.corpora.listing import Listed, measure_parts, refuse_shared_speakers, write_data_dir
from sv_cli.corpora.trial_lists import AllowMissingOptions, utterance_names, write_trial_list
from sv_cli.errors import TableError, name_some

ARCHIVES = {
    "test.tar.gz": "45972606dd10d3f7c1c31f27acdfbed7",
    "train.tar.gz": "c2cea55fd22a2b867d295fb35a2d3340",
    "train.tar.gz-part-a": "4109addde41d88760947263f18117ac3",
    "train.tar.gz-part-b": "5a17ef2fa28b1b9e340277edffb8b51c",
    "train.tar.gz-part-c": "bd2ce08f5b51005b66afe484b01a4a59",
    "train.tar.gz-part-d": "5cd31d961d2d5211aea38b8b95f7239a",
    "train.tar.gz-part-e": "58f3fb7d28ae7f4b65ee35a1ed7ab106",
    "train.tar.gz-part-f": "be64551c030e8087562a10df2c74ccb1",
}
CONDITIONS = ("device", "distance", "dialect")
_LEFT_OUT = "Device09"
_CONDITION = re.compile(r"(Device|Distance|Dialect)(\d+)")


class ThreedSpeakerSettings(AllowMissingOptions, ArchiveOptions):
    """Options of `prepare 3dspeaker`."""

    keep_device09: bool = Field(
        False, description="Keep the recordings of device 9, which the published recipe drops."
    )


def prepare_threed_speaker(job: Job, settings: ThreedSpeakerSettings) -> Prepared:
    """Write OUT/train and OUT/test with utt2device, utt2distance, utt2dialect and three lists."""
    assert job.source is not None
    check_archives(settings.check_archives, ARCHIVES, job.num_procs)
    parts = {name: list_part(job.source, name, settings) for name in ("train", "test")}
    parts = {name: items for name, items in parts.items() if items}
    if not parts:
        raise TableError(
            f"`{job.source}`: no recordings of this corpus",
            hint="files/train_wav.scp and files/train_utt2spk list them (and test_*)",
        )
    listed = {name: [item for _, item in pairs] for name, pairs in parts.items()}
    refuse_shared_speakers(listed, "train", "test")
    measured, skipped = measure_parts(listed, job)
    if "test" in measured:
        published = {item.utt: name for name, item in parts["test"]}
        items = measured["test"].items
        names = utterance_names(items, [published[item.utt] for item in items])
        skipped += _write_trials(names, job, settings)
    for name, part in measured.items():
        write_data_dir(part, job.out / name, job)
    done = sum(len(part.items) for part in measured.values())
    return Prepared(done, skipped, tuple(job.out / name for name in measured))


def list_part(source: Path, part: str, settings: ThreedSpeakerSettings) -> list[tuple[str, Listed]]:
    """Return (published id, utterance) of files/PART_wav.scp and files/PART_utt2spk."""
    scp = _find(source, f"{part}_wav.scp")
    if scp is None:
        return []
    speakers = dict(read_fields(_needed(source, f"{part}_utt2spk"), 2, what="utt2spk"))
    rows = read_fields(scp, 2, what="wav.scp")
    if not settings.keep_device09:
        kept = [row for row in rows if _LEFT_OUT not in row[0]]
        logs.info(f"{part}: {len(rows) - len(kept)} recordings of {_LEFT_OUT} are left out")
        rows = kept
    unowned = [name for name, _ in rows if name not in speakers]
    if unowned:
        raise TableError(f"`{scp}`: no speaker of {len(unowned)}: {name_some(unowned)}")
    owners = [speakers[name] for name, _ in rows]
    utts = utterance_ids(owners, [Path(name).with_suffix("").name for name, _ in rows])
    return [
        (name, Listed(utt, spk, source / path, columns=conditions(name)))
        for (name, path), utt, spk in zip(rows, utts, owners, strict=True)
    ]


def conditions(name: str) -> dict[str, str]:
    """Return device, distance and dialect of a file name.

    Examples
    --------
    >>> conditions("3D_SPK_00001_001_Device01_Distance00_Dialect00")
    {'device': '01', 'distance': '00', 'dialect': '00'}
    """
    return {kind.lower(): number for kind, number in _CONDITION.findall(name)}


def _write_trials(names: Mapping[str, Listed], job: Job, settings: ThreedSpeakerSettings) -> int:
    assert job.source is not None
    num_left_out = 0
    for condition in CONDITIONS:
        path = _find(job.source, f"trials_cross_{condition}")
        if path is None:
            logs.warn(f"no `trials_cross_{condition}` in `{job.source}/files`: no such trials")
            continue
        known_as = f"3D-Speaker cross-{condition}"
        target = job.out / "test" / f"trials-{condition}"
        num_left_out += write_trial_list(path, target, names, settings, known_as=known_as)
    return num_left_out


def _find(source: Path, name: str) -> Path | None:
    return find_beside(name, source / "files", source / "3dspeaker_files" / "files", source)


def _needed(source: Path, name: str) -> Path:
    path = _find(source, name)
    if path is None:
        raise TableError(f"`{source}/files/{name}`: no such file", hint="3dspeaker_files.tar.gz")
    return path


CORPUS = Corpus(
    name="3dspeaker",
    summary="3D-Speaker: train and test; trials across devices, distances and dialects",
    licence="CC BY-SA 4.0",
    origin="https://3dspeaker.github.io/",
    settings=ThreedSpeakerSettings,
    prepare=prepare_threed_speaker,
    source="Folder of `train`, `test` and `files`.",
    examples=(
        "svtool prepare 3dspeaker corpora/3dspeaker out/3dspeaker",
        "svtool prepare 3dspeaker corpora/3dspeaker out/3dspeaker-all --keep-device09 &&"
        " cut -d ' ' -f 2 out/3dspeaker-all/train/utt2device | sort | uniq -c",
    ),
)
