"""Cosine scoring from tables to tables: listed trials, or the whole rectangle."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sv_cli.atomic import atomic_path
from sv_cli.backend.cosine import Rows, Selected, dot_pairs, iterate_dense, select_dense
from sv_cli.backend.score_origin import Origin, write_origin
from sv_cli.backend.sides import Average, Side, Sides, read_sides
from sv_cli.backend.trial_scores import score_list
from sv_cli.errors import SettingsError
from sv_cli.tables.scores import format_scores
from sv_cli.tables.specifier import open_output
from sv_cli.tables.text import write_table


@dataclass(frozen=True)
class Limits:
    """Which scores of a rectangle are kept; None for all."""

    top_k: int | None = None
    threshold: float | None = None


@dataclass(frozen=True)
class ScoreOptions:
    """How embeddings are made ready; see `sides.read_sides`."""

    submean: str | None = None
    enroll_spk2utt: str | None = None
    average: Average = "embeddings"
    allow_missing: bool = False

    def read(self, enroll: str, test: str) -> Sides:
        """Read both sides."""
        return read_sides(
            enroll,
            test,
            submean=self.submean,
            enroll_spk2utt=self.enroll_spk2utt,
            average=self.average,
            allow_missing=self.allow_missing,
        )


def score_trials(files: Sequence[str], options: ScoreOptions) -> tuple[int, int]:
    """Score trials; `files` are (trials, enroll, test, scores); returns (done, skipped)."""
    trials_file, enroll, test, scores_file = files
    # embeddings first, so that trials may come from a pipe that waits for them
    sides = options.read(enroll, test)

    def score(enroll_rows: Rows, test_rows: Rows) -> NDArray[np.float32]:
        return dot_pairs(
            sides.enroll.matrix, sides.test.matrix, enroll_rows=enroll_rows, test_rows=test_rows
        )

    allow_missing = options.allow_missing
    counts = score_list(trials_file, sides, score, scores_file, allow_missing=allow_missing)
    write_origin(scores_file, Origin(sides.model_hash, "score"))
    return counts


def score_rectangle(files: Sequence[str], options: ScoreOptions, limits: Limits) -> int:
    """Score all enrolments with all tests; `files` are (enroll, test, scores).

    A name that ends in `.npy` receives the rectangle as a memory-mapped float32 array (num_enroll,
    num_test), with the keys beside it; any other a list of scores.

    Returns
    -------
    num_scores : int
        Written.
    """
    enroll, test, target = files
    if target.endswith(".npy"):
        if limits != Limits():
            raise SettingsError("a `.npy` array is whole; `--top-k` and `--threshold` make a list")
        return _write_array(target, options.read(enroll, test))
    sides = options.read(enroll, test)
    ids = sides.enroll.ids, sides.test.ids
    num_scores = 0
    with open_output(target) as stream:
        for kept in _selected(sides, limits):
            num_scores += len(kept.score)
            for text in format_scores(ids, kept.enroll, kept.test, kept.score):
                stream.write(text)
    write_origin(target, Origin(sides.model_hash, "score"))
    return num_scores


def _selected(sides: Sides, limits: Limits) -> Iterator[Selected]:
    return select_dense(
        sides.enroll.matrix, sides.test.matrix, top_k=limits.top_k, threshold=limits.threshold
    )


def _write_array(target: str, sides: Sides) -> int:
    shape = (len(sides.enroll.ids), len(sides.test.ids))
    with atomic_path(target) as temporary:
        array = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.float32, shape=shape)
        for rows, scores in iterate_dense(sides.test.matrix, sides.enroll.matrix):
            array[rows] = scores
        array.flush()
        del array
    for side, name in ((sides.enroll, "enroll"), (sides.test, "test")):
        write_table(f"{target}.{name}", _numbered(side), sort=False)
    return shape[0] * shape[1]


def _numbered(side: Side) -> dict[str, str]:
    return {key: str(row) for row, key in enumerate(side.ids)}
