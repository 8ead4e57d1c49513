"""VoxCeleb1: 1251 celebrities in interviews, 153,516 utterances; dev, test, and six trial lists.

Licence: CC BY 4.0. From: https://www.robots.ox.ac.uk/~vgg/data/voxceleb/vox1.html
"""

from pydantic import Field

from sv_cli import logs
from sv_cli.corpora.archives import ArchiveOptions, check_archives
from sv_cli.corpora.corpus import Corpus, Job, Prepared
from sv_cli.corpora.listing import Listed, measure_parts, write_data_dir
from sv_cli.corpora.trial_lists import (
    ListOptions,
    PublishedList,
    find_lists,
    utterance_names,
    write_trial_list,
)
from sv_cli.corpora.voxceleb_files import (
    META_ADDRESS,
    Clip,
    UttIdOptions,
    find_clips,
    genders,
    listed_clips,
    read_speaker_table,
    warn_misplaced,
)
from sv_cli.errors import TableError, name_some

ARCHIVES = {
    "vox1_dev_wav.zip": "ae63e55b951748cc486645f532ba230b",
    "vox1_dev_wav_partaa": "e395d020928bc15670b570a21695ed96",
    "vox1_dev_wav_partab": "bbfaaccefab65d82b21903e81a8a8020",
    "vox1_dev_wav_partac": "017d579a2a96a077f40042ec33e51512",
    "vox1_dev_wav_partad": "7bb1e9f70fddc7a678fa998ea8b3ba19",
    "vox1_test_wav.zip": "185fdc63c3c739954633d50379a3d102",
}
_TEST_SPEAKERS = ("id10270", "id10309")  # the first and last of 40: names that start with E


def _trials(file: str, letter: str, md5: str) -> PublishedList:
    kind = "cleaned" if file.endswith("2.txt") else "original"
    table = f"trials-{letter}" + ("-clean" if kind == "cleaned" else "")
    return PublishedList(file, table, f"VoxCeleb1-{letter} ({kind})", META_ADDRESS, md5)


LISTS = (
    _trials("veri_test.txt", "O", "29fc7cc1c5d59f0816dc15d6e8be60f7"),
    _trials("veri_test2.txt", "O", "b73110731c9223c1461fe49cb48dddfc"),
    _trials("list_test_all.txt", "E", "b9ecf7aa49d4b656aa927a8092844e4a"),
    _trials("list_test_all2.txt", "E", "a53e059deb562ffcfc092bf5d90d9f3a"),
    _trials("list_test_hard.txt", "H", "21c341b6b2168eea2634df0fb4b8fff1"),
    _trials("list_test_hard2.txt", "H", "857790e09d579a68eb2e339a090343c8"),
)
META = PublishedList("vox1_meta.csv", address=META_ADDRESS)


class Voxceleb1Settings(ListOptions, ArchiveOptions, UttIdOptions):
    """Options of `prepare voxceleb1`."""

    trials: bool = Field(
        True, description="Write the trial lists; without them their files are not needed."
    )


def prepare_voxceleb1(job: Job, settings: Voxceleb1Settings) -> Prepared:
    """Write OUT/dev, OUT/test, OUT/all, and the trial lists in test (O) and all (E, H).

    Raises
    ------
    TableError
        When SOURCE contains the test set and none of the lists is there, unless `trials` is off.
    """
    assert job.source is not None
    check_archives(settings.check_archives, ARCHIVES, job.num_procs)
    clips = find_clips(job.source, "1")
    parts = split_clips(clips, settings.utt_id_style)
    tables = find_lists((*(LISTS if settings.trials else ()), META), job, settings)
    speakers = read_speaker_table(tables.pop(META, None))
    if settings.trials and "test" in parts and not tables:
        raise TableError(
            f"`{settings.lists or job.source}`: no trial lists: "
            f"{name_some([item.file for item in LISTS], limit=len(LISTS))}",
            hint=f"get them from {META_ADDRESS} and give their folder as `--lists`, or use "
            "`--fetch`, or `--no-trials`",
        )
    measured, skipped = measure_parts(parts, job)
    for item, path in tables.items():
        name = "test" if "-O" in item.trials else "all"
        if name not in measured:
            logs.info(f"`{item.file}` needs dev and test: no `{item.trials}`")
            continue
        items = measured[name].items
        names = utterance_names(items, [_published(listed) for listed in items])
        skipped += write_trial_list(
            path, job.out / name / item.trials, names, settings, known_as=item.known_as
        )
    for name, part in measured.items():
        write_data_dir(part, job.out / name, job, gender=genders(speakers))
    if "all" in measured:
        logs.info("E and H trials use speakers of dev: a model that saw dev must not be scored")
    done = max(len(part.items) for part in measured.values())
    return Prepared(done, skipped, tuple(job.out / name for name in measured))


def is_test_speaker(spk: str) -> bool:
    """Return whether a speaker is one of the 40 of the test set."""
    return _TEST_SPEAKERS[0] <= spk <= _TEST_SPEAKERS[1]


def split_clips(clips: list[Clip], style: str) -> dict[str, list[Listed]]:
    """Return dev and test by their speakers, and all where there are both."""
    sets = {clip.spk: "test" if is_test_speaker(clip.spk) else "dev" for clip in clips}
    warn_misplaced(clips, sets)
    parts: dict[str, list[Listed]] = {"dev": [], "test": []}
    for item in listed_clips(clips, style):
        parts[sets[item.spk]].append(item)
    parts = {name: items for name, items in parts.items() if items}
    if len(parts) == 2:
        parts["all"] = parts["dev"] + parts["test"]
    return parts


def _published(item: Listed) -> str:
    return "/".join(item.path.parts[-3:])


CORPUS = Corpus(
    name="voxceleb1",
    summary="VoxCeleb1: dev, test and all; trial lists O, E and H, original and cleaned",
    licence="CC BY 4.0",
    origin="https://www.robots.ox.ac.uk/~vgg/data/voxceleb/vox1.html",
    settings=Voxceleb1Settings,
    prepare=prepare_voxceleb1,
    source="Folder above `idXXXXX/VIDEO/NNNNN.wav` (or flac, m4a).",
    examples=(
        "svtool prepare voxceleb1 corpora/voxceleb out/vox1",
        "svtool prepare voxceleb1 corpora/voxceleb out/vox1-path --utt-id-style path &&"
        " cut -d ' ' -f 3 out/vox1-path/test/trials-O-clean | sort | uniq -c",
    ),
)
