"""LibriSpeech: 2484 readers of English audiobooks, 1000 hours; one directory for each subset.

Licence: CC BY 4.0. From: https://www.openslr.org/12/
"""

import re

from sv_cli.corpora.corpus import Corpus, Job, Prepared
from sv_cli.corpora.drawn import DrawOptions, write_all
from sv_cli.corpora.files import find_beside, match_files, read_genders
from sv_cli.corpora.listing import Listed, refuse_shared_speakers

_PATH = re.compile(
    r"(?:.*/)?(?P<part>(?:train|dev|test)-[a-z]+(?:-\d+)?)"
    r"/(?P<spk>\d+)/(?P<chapter>\d+)/(?P<utt>\d+-\d+-\d+)\.(?:flac|wav)"
)
_LOOKS_LIKE = "dev-clean/1272/128104/1272-128104-0000.flac"


class LibrispeechSettings(DrawOptions):
    """Options of `prepare librispeech`."""


def prepare_librispeech(job: Job, settings: LibrispeechSettings) -> Prepared:
    """Write OUT/SUBSET for each subset there is, with spk2gender where SPEAKERS.TXT is."""
    parts: dict[str, list[Listed]] = {}
    for match in match_files(job.source, _PATH, looks_like=_LOOKS_LIKE):
        assert job.source is not None
        item = Listed(match["utt"], match["spk"], job.source / match.string)
        parts.setdefault(match["part"], []).append(item)
    assert job.source is not None
    evaluations = [name for name in parts if not name.startswith("train")]
    for train in parts.keys() - set(evaluations):
        refuse_shared_speakers(parts, train, *evaluations)
    speakers = find_beside("SPEAKERS.TXT", job.source, job.source / "LibriSpeech")
    gender = read_genders(speakers, _speaker, looks_like="14 | F | train-clean-360 | ...")
    return write_all(parts, job, settings, gender=gender)


def _speaker(line: str) -> list[str]:
    """Return the fields of a line of SPEAKERS.TXT, of a comment none."""
    return [] if line.startswith(";") else [field.strip() for field in line.split("|")]


CORPUS = Corpus(
    name="librispeech",
    summary="LibriSpeech: a directory for each subset; trials drawn on demand",
    licence="CC BY 4.0",
    origin="https://www.openslr.org/12/",
    settings=LibrispeechSettings,
    prepare=prepare_librispeech,
    source="Folder of `train-clean-100`, `dev-clean` and the others.",
    examples=(
        "svtool prepare librispeech corpora/LibriSpeech out/libri",
        "svtool prepare librispeech corpora/LibriSpeech out/libri2 --trials 4 &&"
        " cut -d ' ' -f 3 out/libri2/dev-clean/trials | sort | uniq -c",
    ),
)
