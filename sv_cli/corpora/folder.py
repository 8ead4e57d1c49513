"""A folder of recordings: one folder a speaker, or a pattern with the places of the ids.

Licence: that of the recordings. From: your own disk.
"""

import re
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from sv_cli import logs
from sv_cli.audio.suffixes import AUDIO_SUFFIXES
from sv_cli.corpora.corpus import Corpus, Job, Prepared
from sv_cli.corpora.files import walk
from sv_cli.errors import SettingsError, TableError, name_some
from sv_cli.settings.model import Settings

if TYPE_CHECKING:
    from sv_cli.corpora.listing import Listed, Measured

_FIELD = re.compile(r"\{([a-z_][a-z0-9_]*)\}")
_SHARE = re.compile(r"^([A-Za-z0-9_.-]+)=([0-9.]+)$")


class FolderSettings(Settings):
    """Options of `prepare folder`."""

    pattern: str = Field(
        "",
        description="Path of a file below SOURCE, as '{spk}/{session}/{utt}.wav'; `*` matches "
        "within a name; another field goes into the id and a table utt2FIELD "
        "[default: one folder a speaker, any depth].",
    )
    trials: int = Field(
        0, ge=0, description="Draw this many trials, half of them target, into OUT/trials."
    )
    split: str = Field(
        "",
        description="Parts with disjoint speakers, as 'train=0.8,dev=0.2': OUT/train, OUT/dev.",
    )
    seed: int = Field(0, ge=0, description="Seed of --trials and --split.")


def prepare_folder(job: Job, settings: FolderSettings) -> Prepared:
    """Write a data directory of the recordings below `job.source`.

    Raises
    ------
    SvError
        When the folder holds no audio, a pattern fits nothing, or ids collide.
    """
    from sv_cli.corpora.listing import measure

    shares = _parse_shares(settings.split)
    assert job.source is not None
    items = list_folder(job.source, settings.pattern)
    measured = measure(items, job)
    parts = _split_speakers(measured, shares, settings.seed) if shares else {"": measured}
    for name, part in parts.items():
        _write_part(part, job, job.out / name, settings)
    directories = tuple(job.out / name for name in parts)
    return Prepared(len(measured.items), measured.num_skipped, directories)


def list_folder(source: Path, pattern: str) -> "list[Listed]":
    """Return the recordings below a folder with their speakers and ids, unopened."""
    from sv_cli.corpora.ids import speaker_ids, utterance_ids
    from sv_cli.corpora.listing import Listed

    if not source.is_dir():
        raise TableError(f"`{source}`: no such folder")
    found = _match_pattern(source, pattern) if pattern else _one_folder_a_speaker(source)
    speakers = speaker_ids(fields["spk"] for _, fields in found)
    owners = [speakers[fields["spk"]] for _, fields in found]
    names = ["-".join(v for k, v in fields.items() if k != "spk") for _, fields in found]
    utts = utterance_ids(owners, names)
    return [
        Listed(utt, spk, source / path, columns=_extra_columns(fields))
        for (path, fields), utt, spk in zip(found, utts, owners, strict=True)
    ]


def _one_folder_a_speaker(source: Path) -> list[tuple[str, dict[str, str]]]:
    files = list(walk(source))
    audio = [path for path in files if Path(path).suffix.lower() in AUDIO_SUFFIXES]
    if len(audio) < len(files):
        logs.info(f"{len(files) - len(audio)} files are no audio by their names, left out")
    loose = [path for path in audio if "/" not in path]
    if loose:
        logs.warn(f"{len(loose)} files in no speaker's folder, left out: {name_some(loose)}")
    found = []
    for path in audio:
        spk, slash, rest = path.partition("/")
        if slash:
            found.append((path, {"spk": spk, "utt": _stem(rest).replace("/", "-")}))
    if not found:
        raise TableError(
            f"`{source}`: no recordings in folders of speakers",
            hint="tell the place of the ids with `--pattern '{spk}_{utt}.wav'`",
        )
    return found


def _match_pattern(source: Path, pattern: str) -> list[tuple[str, dict[str, str]]]:
    expression = compile_pattern(pattern)
    files = list(walk(source))
    matches = [(path, expression.fullmatch(path)) for path in files]
    found = [(path, match.groupdict()) for path, match in matches if match]
    if not found:
        raise TableError(
            f"`{source}`: none of {len(files)} files fits `--pattern '{pattern}'`",
            hint=f"the files look like {name_some(files, limit=2)}",
        )
    if len(found) < len(files):
        logs.info(f"{len(files) - len(found)} files do not fit the pattern, left out")
    return [
        (path, fields if "utt" in fields else {**fields, "utt": _stem(path.rsplit("/", 1)[-1])})
        for path, fields in found
    ]


def compile_pattern(pattern: str) -> re.Pattern[str]:
    """Return the regular expression of a pattern with `{spk}`, other fields, and `*`.

    Raises
    ------
    SettingsError
        When `{spk}` is missing or a field comes twice.
    """
    fields = _FIELD.findall(pattern)
    if "spk" not in fields or len(set(fields)) < len(fields):
        raise SettingsError(f"`--pattern '{pattern}'`: needs `{{spk}}`, and each field once")
    expression = ""
    for position, part in enumerate(_FIELD.split(pattern)):
        if position % 2:
            expression += f"(?P<{part}>[^/]+?)"
        else:
            expression += re.escape(part).replace(r"\*", "[^/]*")
    return re.compile(expression)


def _extra_columns(fields: dict[str, str]) -> dict[str, str]:
    return {
        name: "_".join(value.split())
        for name, value in fields.items()
        if name not in ("spk", "utt")
    }


def _stem(path: str) -> str:
    return str(Path(path).with_suffix(""))


def _parse_shares(text: str) -> dict[str, float]:
    shares: dict[str, float] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        match = _SHARE.match(part)
        if not match or match[1] in shares or match[1] in (".", ".."):
            raise SettingsError(f"`--split {text}`: expected `name=share,name=share`")
        shares[match[1]] = float(match[2])
    if shares and abs(sum(shares.values()) - 1.0) > 1e-6:
        raise SettingsError(f"`--split {text}`: the shares do not sum to 1")
    return shares


def _split_speakers(
    measured: "Measured", shares: dict[str, float], seed: int
) -> "dict[str, Measured]":
    """Deal the speakers out by their shares; each part gets at least one."""
    from random import Random

    from sv_cli.corpora.listing import Measured

    speakers = sorted({item.spk for item in measured.items})
    if len(speakers) < len(shares):
        raise TableError(f"{len(speakers)} speakers cannot be split into {len(shares)} parts")
    Random(seed).shuffle(speakers)
    parts: dict[str, Measured] = {}
    start, total = 0, 0.0
    for position, (name, share) in enumerate(shares.items(), start=1):
        total += share
        left = len(shares) - position
        stop = min(max(round(total * len(speakers)), start + 1), len(speakers) - left)
        chosen = set(speakers[start:stop])
        items = [item for item in measured.items if item.spk in chosen]
        parts[name] = Measured(items, {i.utt: measured.seconds[i.utt] for i in items}, 0)
        start = stop
    return parts


def _write_part(part: "Measured", job: Job, out: Path, settings: FolderSettings) -> None:
    from sv_cli.corpora.listing import utterances_of, write_data_dir
    from sv_cli.corpora.trial_draw import draw_trials, write_trial_rows

    write_data_dir(part, out, job)
    if settings.trials:
        rows = draw_trials(utterances_of(part.items), settings.trials, seed=settings.seed)
        if len(rows) < settings.trials:
            logs.warn(f"`{out}` gives {len(rows)} trials, {settings.trials} were asked for")
        write_trial_rows(out / "trials", rows)


CORPUS = Corpus(
    name="folder",
    summary="Recordings in one folder a speaker, or placed by a pattern",
    licence="that of the recordings",
    origin="your own disk",
    settings=FolderSettings,
    prepare=prepare_folder,
    source="Folder of recordings.",
    examples=(
        "svtool prepare folder recordings out/mine --trials 100",
        "svtool prepare folder recordings out/parts --split train=0.5,dev=0.5"
        " --pattern '{spk}/{utt}.wav' && cut -d ' ' -f 1 out/parts/dev/spk2utt | head",
    ),
)
