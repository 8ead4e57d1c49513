"""What VoxCeleb1 and VoxCeleb2 share: the tree `idXXXXX/VIDEO/NNNNN.wav`, ids, speakers' table."""

import csv
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from pydantic import Field

from sv_cli import logs
from sv_cli.corpora.files import choose_format, match_files
from sv_cli.corpora.listing import Listed
from sv_cli.errors import TableError
from sv_cli.settings.model import Settings

META_ADDRESS = "https://www.robots.ox.ac.uk/~vgg/data/voxceleb/meta/"
LOOKS_LIKE = "id10270/5r0dWxy17C8/00001.wav"
_PATH = r"(?:.*/)?(?P<spk>id{digit}\d{{4}})/(?P<video>[^/]+)/(?P<number>\d{{5}})"
_SUFFIX = r"\.(?P<suffix>wav|flac|m4a)"


class UttIdOptions(Settings):
    """Option of corpora whose lists name files by their path."""

    utt_id_style: Literal["kaldi", "path"] = Field(
        "kaldi",
        description="kaldi: id10270-5r0dWxy17C8-00001; path: id10270/5r0dWxy17C8/00001.wav.",
    )


class Clip(NamedTuple):
    """One utterance of VoxCeleb: its path, the ids in it, and the set that its folder names."""

    path: Path
    folder: str | None
    spk: str
    video: str
    number: str

    @property
    def published(self) -> str:
        """The name in trial lists."""
        return f"{self.spk}/{self.video}/{self.number}.wav"

    def listed(self, style: str, columns: Mapping[str, str]) -> Listed:
        """Return the utterance under its id."""
        kaldi = f"{self.spk}-{self.video}-{self.number}"
        utt = kaldi if style == "kaldi" else self.published
        return Listed(utt, self.spk, self.path, columns=columns)


def find_clips(source: Path | None, digit: str) -> list[Clip]:
    """Return the utterances below a folder, with any folders above the speakers'.

    Parameters
    ----------
    source : Path
        Any folder above `idXXXXX/VIDEO/NNNNN.wav`.
    digit : str
        First digit of speakers: "1" is VoxCeleb1, "0" VoxCeleb2.

    Raises
    ------
    TableError
        When there are none.
    """
    expression = re.compile(_PATH.format(digit=digit) + _SUFFIX)
    found = match_files(source, expression, looks_like=LOOKS_LIKE.replace("id1", f"id{digit}"))
    chosen = choose_format(found)
    assert source is not None
    clips = []
    for fields, match in sorted(chosen.items()):
        path = source / match.string
        clips.append(Clip(path, _set_of_folder(source, match.string), *fields))
    return clips


def listed_clips(
    clips: Sequence[Clip], style: str, columns: Mapping[str, Mapping[str, str]] | None = None
) -> list[Listed]:
    """Return clips under their ids; `columns` is published name -> what else is known."""
    known = columns or {}
    return [clip.listed(style, known.get(clip.published, {})) for clip in clips]


def read_speaker_table(path: Path | None) -> dict[str, dict[str, str]]:
    """Return speaker -> {"gender": ..., "set": ...} of vox1_meta.csv or vox2_meta.csv.

    The one is tab separated, the other has commas with a blank before them.

    Raises
    ------
    TableError
        Names `file:line` of a line with other columns than the header.
    """
    if path is None:
        return {}
    with path.open(encoding="utf-8-sig", newline="") as stream:
        lines = stream.read().splitlines()
    delimiter = "\t" if lines and "\t" in lines[0] else ","
    rows = [[cell.strip() for cell in row] for row in csv.reader(lines, delimiter=delimiter)]
    header = [name.lower() for name in rows[0]] if rows else []
    if "gender" not in header or "set" not in header:
        raise TableError(f"`{path}:1`: no columns `Gender` and `Set`")
    speakers: dict[str, dict[str, str]] = {}
    for line, row in enumerate(rows[1:], start=2):
        if len(row) != len(header):
            raise TableError(f"`{path}:{line}`: {len(row)} columns, the header has {len(header)}")
        cells = dict(zip(header[1:], row[1:], strict=True))
        speakers[row[0]] = {"gender": cells["gender"], "set": cells["set"]}
    return speakers


def genders(speakers: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """Return speaker -> m or f."""
    return {spk: row["gender"] for spk, row in speakers.items() if row["gender"] in ("m", "f")}


def warn_misplaced(clips: Sequence[Clip], parts: Mapping[str, str]) -> None:
    """Say how many speakers lie in a folder `dev` or `test` that is not theirs."""
    wrong = {clip.spk for clip in clips if clip.folder not in (None, parts[clip.spk])}
    if wrong:
        logs.warn(
            f"{len(wrong)} speakers lie in the folder of the other set (as `{min(wrong)}`); "
            "they go where the corpus has them, so that training never sees the test"
        )


def _set_of_folder(source: Path, path: str) -> str | None:
    """Return "dev" or "test" where a folder above the speaker is called so.

    Of the folders above `source` only the one that an archive makes counts (`dev/aac`).
    """
    above = [source.absolute().name, *Path(path).parts[:-3]]
    if above[0] in ("aac", "wav", "flac", "m4a"):
        above.insert(0, source.absolute().parent.name)
    named = [part for part in above if part in ("dev", "test")]
    return named[-1] if named else None
