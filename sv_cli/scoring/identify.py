"""Identification: test embeddings against all enrolled speakers at once, from tables to tables."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sv_cli import logs
from sv_cli.backend.calibration import DecisionThreshold
from sv_cli.backend.cosine import Selected, select_dense
from sv_cli.errors import SettingsError, TableError, name_some
from sv_cli.scoring.score_files import check_scores, read_score_model
from sv_cli.scoring.sides import SideOptions, Sides, read_sides
from sv_cli.tables.kaldi.specifier import open_output
from sv_cli.tables.text import encode, read_table

UNKNOWN = "unknown"

Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class IdentifyOptions:
    """What is wanted of each test embedding.

    Attributes
    ----------
    top_k : int
        Speakers listed for each.
    threshold : str or None
        A number, or what `calibrate threshold` wrote; below it a speaker is unknown.
    true_speakers : sequence of str
        Tables of the speakers of the tests, and of enrolled models or utterances; an enrolled key
        that is in none is the name of a speaker.
    """

    top_k: int = 1
    threshold: str | None = None
    true_speakers: Sequence[str] = ()


@dataclass(frozen=True)
class Identified:
    """How many tests were looked at, and for how many the best speaker was good enough.

    `num_skipped` counts speakers who could not be enrolled, for want of embeddings.
    """

    num_tests: int
    num_known: int
    num_enrolled: int
    num_skipped: int


def identify(
    files: tuple[str, str, str], enrolling: SideOptions, wanted: IdentifyOptions
) -> Identified:
    """Write `test rank spk score` lines; `files` are (enrolled, test, out).

    A test whose best score is below the threshold gets one line with the speaker `unknown` and
    that score. Scores are those of `svtool score`; of equal ones the speaker who is
    first in the enrolment ranks first.
    """
    enrolled, test, out = files
    sides = read_sides(enrolled, test, enrolling)
    threshold = _threshold(wanted.threshold, sides)
    _warn_of_enrolled_tests(sides)
    tally = _Tally.start(sides, wanted, threshold) if wanted.true_speakers else None
    num_known = 0
    with open_output(out) as stream:
        for kept in select_dense(sides.enroll.matrix, sides.test.matrix, top_k=wanted.top_k):
            listed = _Listed.of(kept, threshold)
            num_known += int(np.count_nonzero(listed.known & (listed.rank == 1)))
            stream.write(encode("".join(listed.lines(sides))))
            if tally is not None:
                tally.add(kept, listed)
    if tally is not None:
        tally.report()
    num_skipped = sides.enroll.num_left_out
    return Identified(len(sides.test.ids), num_known, len(sides.enroll.ids), num_skipped)


def _threshold(text: str | None, sides: Sides) -> float | None:
    if text is None:
        return None
    if UNKNOWN in sides.enroll.index:
        raise TableError(f"an enrolled speaker is called `{UNKNOWN}`", hint="rename that speaker")
    try:
        value = float(text)
    except ValueError:
        made = read_score_model(text, DecisionThreshold)
        check_scores(made, sides.lineage, path=text)
        return made.threshold
    if not np.isfinite(value):
        raise SettingsError(f"`--threshold {text}` is no number")
    return value


def _warn_of_enrolled_tests(sides: Sides) -> None:
    """Say that a test which is enrolled itself is no test."""
    enrolled = sides.enroll.utts or sides.enroll.index
    both = sum(key in enrolled for key in sides.test.ids)
    if both:
        logs.warn(f"{both} of {len(sides.test.ids)} tests are enrolled themselves")


@dataclass(frozen=True)
class _Listed:
    """The selection of a block, with the place of each score and the open-set decision."""

    kept: Selected
    rank: NDArray[np.int64]
    known: Bools

    @classmethod
    def of(cls, kept: Selected, threshold: float | None) -> "_Listed":
        rank = np.arange(len(kept.test)) - np.searchsorted(kept.test, kept.test) + 1
        known = np.ones(len(rank), dtype=np.bool_)
        if threshold is not None:  # as `decide` reads the score that is written
            written = np.array([float(f"{score:.9g}") for score in kept.score.tolist()])
            known = np.asarray(written >= threshold, dtype=np.bool_)
        return cls(kept, rank, known)

    def lines(self, sides: Sides) -> list[str]:
        shown = self.known | (self.rank == 1)
        names = (
            sides.enroll.ids[row] if known else UNKNOWN
            for row, known in zip(
                self.kept.enroll[shown].tolist(), self.known[shown].tolist(), strict=True
            )
        )
        tests = map(sides.test.ids.__getitem__, self.kept.test[shown].tolist())
        rest = self.rank[shown].tolist(), self.kept.score[shown].tolist()
        rows = zip(tests, rest[0], names, rest[1], strict=True)
        return ["%s %d %s %.9g\n" % row for row in rows]  # noqa: UP031


@dataclass
class _Tally:
    """Counts against the true speakers."""

    enrolled: NDArray[np.int64]
    tests: NDArray[np.int64]
    top_k: int
    threshold: float | None
    is_enrolled: Bools
    first: int = 0
    among: int = 0
    accepted_right: int = 0
    false_alarms: int = 0

    @classmethod
    def start(cls, sides: Sides, wanted: IdentifyOptions, threshold: float | None) -> "_Tally":
        speaker: dict[str, str] = {}
        for source in wanted.true_speakers:
            speaker |= read_table(source, fields=1, what="utt2spk")
        missing = [key for key in sides.test.ids if key not in speaker]
        if missing:
            raise TableError(
                f"{len(missing)} tests have no speaker in `--utt2spk`: {name_some(missing)}"
            )
        number: dict[str, int] = {}
        enrolled = _numbers([speaker.get(key, key) for key in sides.enroll.ids], number)
        tests = _numbers([speaker[key] for key in sides.test.ids], number)
        return cls(enrolled, tests, wanted.top_k, threshold, np.isin(tests, enrolled))

    def add(self, kept: Selected, listed: _Listed) -> None:
        hit = self.enrolled[kept.enroll] == self.tests[kept.test]
        best = listed.rank == 1
        self.first += int(np.count_nonzero(hit & best))
        self.among += len(np.unique(kept.test[hit]))
        self.accepted_right += int(np.count_nonzero(hit & best & listed.known))
        stranger = ~self.is_enrolled[kept.test]
        self.false_alarms += int(np.count_nonzero(stranger & best & listed.known))

    def report(self) -> None:
        num_enrolled = int(np.count_nonzero(self.is_enrolled))
        num_strangers = len(self.tests) - num_enrolled
        if num_enrolled:
            text = f"identification rate {_share(self.first, num_enrolled)}"
            if self.top_k > 1:
                text += f"; among the best {self.top_k}: {_share(self.among, num_enrolled)}"
            logs.info(text)
        if self.threshold is not None:
            found = _share(self.accepted_right, num_enrolled) if num_enrolled else "no tests"
            false = _share(self.false_alarms, num_strangers) if num_strangers else "no tests"
            logs.info(
                f"at the threshold {self.threshold:.6g}: enrolled speakers identified {found}, "
                f"others accepted {false}"
            )
        elif num_strangers:
            logs.info(f"{num_strangers} tests are of speakers who are not enrolled")


def _numbers(speakers: Sequence[str], number: dict[str, int]) -> NDArray[np.int64]:
    return np.array([number.setdefault(spk, len(number)) for spk in speakers], dtype=np.int64)


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.2f} % ({part} of {whole})"
