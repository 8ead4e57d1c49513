"""A synthetic corpus made on the spot: many speakers of a source-filter model, real difficulties.

Licence: none needed, it is computed. From: this program.
"""

from typing import Literal, NamedTuple

from pydantic import Field

from sv_cli.corpora.corpus import Corpus, Job, Prepared
from sv_cli.settings.model import Settings


class Part(NamedTuple):
    """Speakers and utterances of each in one part of the corpus."""

    num_speakers: int
    num_utterances: int


class Size(NamedTuple):
    """A preset: the parts, and the trials of dev and eval."""

    parts: dict[str, Part]
    num_targets: int
    num_same_gender: int
    num_cross_gender: int
    seconds: tuple[float, float]


SIZES: dict[str, Size] = {
    "tiny": Size(
        {"train": Part(10, 4), "cohort": Part(6, 2), "dev": Part(4, 5), "eval": Part(4, 5)},
        40,
        40,
        40,
        (1.6, 3.0),
    ),
    "small": Size(
        {"train": Part(24, 8), "cohort": Part(12, 4), "dev": Part(10, 8), "eval": Part(10, 8)},
        250,
        500,
        500,
        (1.8, 3.0),
    ),
    "default": Size(
        {"train": Part(96, 10), "cohort": Part(30, 5), "dev": Part(20, 10), "eval": Part(20, 10)},
        900,
        2400,
        2100,
        (2.0, 4.0),
    ),
}


class DemoSettings(Settings):
    """Options of `prepare demo`."""

    size: Literal["tiny", "small", "default"] = Field(
        "default", description="Preset: 24, 56 or 166 speakers."
    )
    format: Literal["wav", "flac"] = Field("wav", description="Format of the audio, 16 bits.")
    seed: int = Field(0, ge=0, description="Seed; the same seed gives the same corpus.")


def prepare_demo(job: Job, settings: DemoSettings) -> Prepared:
    """Write OUT/{train,cohort,dev,eval} and the audio in OUT/audio."""
    from sv_cli.corpora.demo_build import build

    return build(job, settings, SIZES[settings.size])


CORPUS = Corpus(
    name="demo",
    summary="Synthetic speakers made on the spot, in train, cohort, dev and eval",
    licence="free, it is computed",
    origin="this program",
    settings=DemoSettings,
    prepare=prepare_demo,
    examples=(
        "svtool prepare demo out/demo --size tiny",
        "svtool prepare demo out/demo2 --size tiny --seed 2 &&"
        " cut -d ' ' -f 3 out/demo2/eval/trials.cond | sort | uniq -c",
    ),
)
