"""CN-Celeb 1 and 2: 3000 Chinese celebrities in 11 genres; train, and the evaluation of part 1.

Licence: CC BY-SA 4.0. From: https://www.openslr.org/82/
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import Field

from sv_cli import logs
from sv_cli.corpora.archives import ArchiveOptions, check_archives
from sv_cli.corpora.corpus import Corpus, Job, Prepared
from sv_cli.corpora.files import choose_format, match_files, read_lines
from sv_cli.corpora.listing import Listed, measure_parts, refuse_shared_speakers, write_data_dir
from sv_cli.corpora.trial_lists import AllowMissingOptions, utterance_names, write_trial_list
from sv_cli.errors import TableError

ARCHIVES = {
    "cn-celeb_v2.tar.gz": "7ab1b214028a7439e26608b2d5a0336c",
    "cn-celeb2_v2.tar.gz": "55c47cf0b6d0bf793e88bf79d5dfc660",
}
_PATH = re.compile(
    r"(?P<root>(?:.*/)?)(?:"
    r"data/(?P<spk>id\d{5})/(?P<name>[^/]+)"
    r"|eval/(?P<kind>enroll|test)/(?P<file>id\d{5}-[^/]+)"
    r")\.(?P<suffix>flac|wav)"
)
_FIRST_EVAL_SPEAKER = "id00800"  # of the part whose speakers start with id0
_ENROLL = "enroll_spk2utt"


class CncelebSettings(AllowMissingOptions, ArchiveOptions):
    """Options of `prepare cnceleb`."""

    combine_short: float = Field(
        0.0,
        ge=0,
        description="Join training utterances shorter than this, of one speaker and genre, until "
        "they sum to it, in s (WeSpeaker's recipe takes 5); 0 leaves them as they are.",
    )


def prepare_cnceleb(job: Job, settings: CncelebSettings) -> Prepared:
    """Write OUT/train (both parts) and OUT/eval with `trials` and `enroll_spk2utt`."""
    assert job.source is not None
    check_archives(settings.check_archives, ARCHIVES, job.num_procs)
    looks_like = "CN-Celeb_flac/data/id00010/singing-01-002.flac"
    found = choose_format(match_files(job.source, _PATH, looks_like=looks_like), ("flac", "wav"))
    matches = [found[key] for key in sorted(found, key=_without_none)]
    root = _eval_root(job.source, matches)
    models = read_models(root / "lists" / "enroll.map") if root else {}
    parts = {
        "train": list_training(job.source, matches),
        "eval": list_evaluation(job.source, matches, models),
    }
    parts = {name: items for name, items in parts.items() if items}
    refuse_shared_speakers(parts, "train", "eval")
    measured, skipped = measure_parts(parts, job)
    if "eval" in measured and root:
        skipped += _write_protocols(root, measured["eval"].items, models, job, settings)
    if "train" in measured and settings.combine_short:
        from sv_cli.corpora.combining import combine_short

        train = measured["train"]
        measured["train"] = combine_short(train, settings.combine_short, job.out / "train", job)
    for name, part in measured.items():
        write_data_dir(part, job.out / name, job)
    done = sum(len(part.items) for part in measured.values())
    return Prepared(done, skipped, tuple(job.out / name for name in measured))


def list_training(source: Path, matches: Sequence[re.Match[str]]) -> list[Listed]:
    """Return the utterances of the speakers of dev/dev.lst (part 1) and spk.lst (part 2).

    Where a list is missing, the speakers below id00800 and from id10000 on are the same ones.
    """
    listed: dict[str, set[str] | None] = {}
    items = []
    for match in matches:
        spk, folder = match["spk"], match["root"]
        if spk is None:
            continue
        if folder not in listed:
            listed[folder] = _training_speakers(source / folder)
        speakers = listed[folder]
        if spk in speakers if speakers is not None else not _is_eval(spk):
            items.append(_data_item(source, match))
    return items


def list_evaluation(
    source: Path, matches: Sequence[re.Match[str]], models: Mapping[str, Sequence[str]]
) -> list[Listed]:
    """Return the joined enrolments, the tests, and the recordings that enrolments are made of."""
    parts = {utt for utts in models.values() for utt in utts}
    items = []
    for match in matches:
        if match["kind"]:
            genre = match["file"].split("-")[1]
            columns = {} if match["kind"] == "enroll" else {"genre": genre}
            utt = match["file"]
            items.append(Listed(utt, utt[:7], source / match.string, columns=columns))
        elif f"{match['spk']}-{match['name']}" in parts:
            items.append(_data_item(source, match))
    known = {item.utt for item in items}
    if len(known) < len(items):  # a test that is also a part of an enrolment
        items = list({item.utt: item for item in items}.values())
    return items


def read_models(path: Path) -> dict[str, list[str]]:
    """Return enrolment -> the utterances it was joined of, from enroll.map; {} without it.

    Raises
    ------
    TableError
        Names `file:line` of a line without utterances.
    """
    models: dict[str, list[str]] = {}
    if not path.is_file():
        logs.warn(f"no `{path}`: enrolment by averaging is left out")
        return models
    for where, line in read_lines(path):
        model, *files = line.split()
        if not files or model in models:
            raise TableError(f"`{where}`: expected a new enrolment and its recordings")
        models[model] = [str(Path(file).with_suffix("")).replace("/", "-") for file in files]
    return models


def _write_protocols(
    root: Path,
    items: Sequence[Listed],
    models: Mapping[str, Sequence[str]],
    job: Job,
    settings: CncelebSettings,
) -> int:
    """Write eval/trials, and eval/enroll_spk2utt for enrolment by averaging."""
    from sv_cli.tables.text import write_table

    lists = root / "lists"
    if not (lists / "trials.lst").is_file():
        logs.warn(f"no `{lists / 'trials.lst'}`: no trials")
        return 0
    published = [
        item.utt if item.path.parent.name != "test" else f"test/{item.utt}" for item in items
    ]
    names = utterance_names(items, published)
    known = {item.utt for item in items}
    lost = sorted(model for model, utts in models.items() if not known.issuperset(utts))
    if lost:
        logs.warn(f"recordings of {len(lost)} enrolments are missing (as of `{lost[0]}`)")
    rows = {model: [utt for utt in utts if utt in known] for model, utts in models.items()}
    rows = {model: utts for model, utts in rows.items() if utts}
    if rows:
        write_table(str(job.out / "eval" / _ENROLL), rows)
    trials = job.out / "eval" / "trials"
    known_as = "CN-Celeb1 evaluation"
    return write_trial_list(lists / "trials.lst", trials, names, settings, known_as=known_as)


def _data_item(source: Path, match: re.Match[str]) -> Listed:
    utt = f"{match['spk']}-{match['name']}"
    genre = match["name"].split("-")[0]
    return Listed(utt, match["spk"], source / match.string, columns={"genre": genre})


def _training_speakers(part: Path) -> set[str] | None:
    for name in ("dev/dev.lst", "spk.lst"):
        if (part / name).is_file():
            return {line for _, line in read_lines(part / name)}
    logs.warn(f"`{part}`: neither dev/dev.lst nor spk.lst; its training speakers go by number")
    return None


def _is_eval(spk: str) -> bool:
    return _FIRST_EVAL_SPEAKER <= spk < "id01000"


def _eval_root(source: Path, matches: Sequence[re.Match[str]]) -> Path | None:
    roots = {match["root"] for match in matches if match["kind"]}
    return source / min(roots) / "eval" if roots else None


def _without_none(key: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(field or "" for field in key)


CORPUS = Corpus(
    name="cnceleb",
    summary="CN-Celeb 1 and 2: train with genres, and eval with both protocols of enrolment",
    licence="CC BY-SA 4.0",
    origin="https://www.openslr.org/82/",
    settings=CncelebSettings,
    prepare=prepare_cnceleb,
    source="Folder of CN-Celeb_flac and CN-Celeb2_flac, or of one of them.",
    examples=(
        "svtool prepare cnceleb corpora/cnceleb out/cnceleb",
        "svtool prepare cnceleb corpora/cnceleb out/cnceleb-5s --combine-short 5 &&"
        " cut -d ' ' -f 2 out/cnceleb-5s/train/utt2genre | sort | uniq -c",
    ),
)
