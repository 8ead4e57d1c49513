"""AISHELL-1: 400 readers of Mandarin, 178 hours; train, dev and test.

Licence: Apache 2.0. From: https://www.openslr.org/33/
"""

import re

from sv_cli.corpora.corpus import Corpus, Job, Prepared
from sv_cli.corpora.drawn import DrawOptions, write_all
from sv_cli.corpora.files import find_beside, match_files, read_genders
from sv_cli.corpora.listing import Listed, refuse_shared_speakers

_PATH = re.compile(
    r"(?:.*/)?(?P<part>train|dev|test)/(?P<spk>S\d{4})/(?P<utt>BAC009S\d{4}W\d{4})\.(?:wav|flac)"
)
_LOOKS_LIKE = "data_aishell/wav/train/S0002/BAC009S0002W0122.wav"


class AishellSettings(DrawOptions):
    """Options of `prepare aishell`."""


def prepare_aishell(job: Job, settings: AishellSettings) -> Prepared:
    """Write OUT/train, OUT/dev and OUT/test, with spk2gender where speaker.info is.

    The id is the file's with its speaker in front: S0002-BAC009S0002W0122.
    """
    parts: dict[str, list[Listed]] = {}
    for match in match_files(job.source, _PATH, looks_like=_LOOKS_LIKE):
        assert job.source is not None
        utt = f"{match['spk']}-{match['utt']}"
        item = Listed(utt, match["spk"], job.source / match.string)
        parts.setdefault(match["part"], []).append(item)
    refuse_shared_speakers(parts, "train", "dev", "test")
    assert job.source is not None
    folders = (job.source, job.source / "resource_aishell", job.source.parent / "resource_aishell")
    speakers = find_beside("speaker.info", *folders)
    gender = read_genders(speakers, _speaker, looks_like="0002 M")
    return write_all(parts, job, settings, gender=gender)


def _speaker(line: str) -> list[str]:
    """Return the fields of a line of speaker.info; its speakers have an S in front or none."""
    spk, *rest = line.split()
    return ["S" + spk.removeprefix("S"), *rest]


CORPUS = Corpus(
    name="aishell",
    summary="AISHELL-1: train, dev and test; trials drawn on demand",
    licence="Apache 2.0",
    origin="https://www.openslr.org/33/",
    settings=AishellSettings,
    prepare=prepare_aishell,
    source="Folder data_aishell, or the one above it.",
    examples=(
        "svtool prepare aishell corpora/aishell out/aishell",
        "svtool prepare aishell corpora/aishell out/aishell2 --trials 4 &&"
        " cut -d ' ' -f 3 out/aishell2/test/trials | sort | uniq -c",
    ),
)
