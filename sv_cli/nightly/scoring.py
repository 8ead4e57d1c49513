"""Scores of one recording after the other against an enrolled set that is read once.

Each recording is scored alone, so that its scores do not depend on which others are new.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, replace

import numpy as np
from numpy.typing import NDArray

from sv_cli.backend.asnorm import (
    CohortStats,
    apply_norm,
    check_cohort,
    check_deviation,
    cohort_stats,
)
from sv_cli.backend.calibration import Calibration, DecisionThreshold
from sv_cli.backend.cosine import dot_pairs
from sv_cli.errors import TableError, name_some
from sv_cli.nightly.settings import JobSettings
from sv_cli.scoring.asnorm import NormOptions, asnorm_step
from sv_cli.scoring.calibrate import calibration_step
from sv_cli.scoring.score_files import AnyModel, check_scores, read_score_model
from sv_cli.scoring.sides import SideOptions, read_sides
from sv_cli.tables.embeddings import ModelInfo, read_embeddings
from sv_cli.tables.lineage import Lineage, Step, check_same_model
from sv_cli.tables.pairs.trials import read_trials
from sv_cli.tables.text import encode

Vector = NDArray[np.float32]


class Scorer:
    """The enrolled set, and what is done to a score: normalised, calibrated, decided.

    Parameters
    ----------
    settings : JobSettings
    info : ModelInfo
        Of the embeddings of recordings; tables of another model are refused.

    Raises
    ------
    TableError
        When a table is wrong, or of another model.
    """

    def __init__(self, settings: JobSettings, info: ModelInfo) -> None:
        options = SideOptions(
            settings.submean, settings.enroll_spk2utt, inner_product=info.inner_product
        )
        sides = read_sides(settings.enroll, settings.enroll, options)
        model = Lineage(model=asdict(info), source=settings.model)
        check_same_model(model, *(table.lineage for table in sides.tables))
        self.enroll, self._sides = sides.enroll, sides
        self._top_n = settings.top_n
        self._cohort = None if settings.cohort is None else self._read_cohort(settings, model)
        self._stats: CohortStats | None = None
        if self._cohort is not None:
            self._stats = cohort_stats(self.enroll.matrix, self._cohort, top_n=self._top_n)
            check_deviation(self._stats, self.enroll.ids, what="enrolled")
        self.lineage = replace(sides.lineage, model=model.model, source=settings.enroll)
        if settings.cohort is not None:
            step = asnorm_step(settings.cohort, NormOptions(top_n=settings.top_n), sides)
            self.lineage = self.lineage.then("scores", step)
        self._calibration: Calibration | None = None
        if settings.calibration is not None:
            self._calibration = self._checked(settings.calibration, Calibration)
            self.lineage = self.lineage.then("scores", calibration_step(settings.calibration))
        self._threshold: float | None = None
        if isinstance(settings.threshold, str):
            self._threshold = self._checked(settings.threshold, DecisionThreshold).threshold
        elif settings.threshold is not None:
            self._threshold = settings.threshold
        self.lineage = self.lineage.then(
            "decisions", Step("decide", {"threshold": self._threshold})
        )

    def _checked(self, path: str, kind: type[AnyModel]) -> AnyModel:
        """Return a score model that was trained on scores like those made so far."""
        made = read_score_model(path, kind)
        check_scores(made, self.lineage, path=path)
        return made

    def _read_cohort(self, settings: JobSettings, model: Lineage) -> Vector:
        table = read_embeddings(str(settings.cohort))
        check_same_model(model, table.lineage)
        check_cohort(len(table), settings.top_n)
        return self._sides.make_ready(table.matrix, table.ids, what="cohort embeddings")

    def rows(self, key: str, embedding: Vector, against: Sequence[str] | None) -> bytes:
        """Return the lines `enroll test score [accept|reject]` of a recording.

        Parameters
        ----------
        embedding : (embedding_dim,) float32
        against : sequence of str or None
            Those to score it against; None for all.

        Raises
        ------
        SvError
            When the embedding has no direction, or no deviation against the cohort.
        """
        test = self._sides.make_ready(embedding[None].astype(np.float32), [key])
        ids = self.enroll.ids if against is None else list(against)
        rows = self.enroll.rows(ids)
        none = np.zeros(len(rows), dtype=np.int32)
        scores = self._normalize(
            dot_pairs(self.enroll.matrix, test, enroll_rows=rows, test_rows=none), key, test, rows
        )
        if self._calibration is not None:
            scores = self._calibration.apply(scores)
        return encode("".join(self._lines(ids, key, scores)))

    def _normalize(
        self, scores: Vector, key: str, test: Vector, rows: NDArray[np.int32]
    ) -> NDArray[np.float64]:
        raw = scores.astype(np.float64)
        if self._cohort is None or self._stats is None:
            return raw
        stats = cohort_stats(test, self._cohort, top_n=self._top_n)
        check_deviation(stats, [key], what="recordings")
        none = np.zeros(len(rows), dtype=np.int32)
        return apply_norm(raw, self._stats, stats, enroll_rows=rows, test_rows=none)

    def _lines(self, ids: Sequence[str], key: str, scores: NDArray[np.float64]) -> list[str]:
        if self._threshold is None:
            words = [""] * len(ids)
        else:
            accepted = (scores >= self._threshold).tolist()
            words = [" accept" if yes else " reject" for yes in accepted]
        values = zip(ids, scores.tolist(), words, strict=True)
        return [f"{enroll} {key} {score:.9g}{word}\n" for enroll, score, word in values]


def read_pairs(trials: str, enroll_ids: Sequence[str]) -> dict[str, list[str]] | None:
    """Return those whom each recording is to be scored against; None for `all` with all.

    Raises
    ------
    TableError
        When the list is wrong, or names someone who is not enrolled.
    """
    if trials == "all":
        return None
    table = read_trials(trials)
    missing = set(table.enroll_ids) - set(enroll_ids)
    if missing:
        raise TableError(
            f"`{trials}`: {len(missing)} are not enrolled: {name_some(sorted(missing))}",
            hint="add them to `enroll`, or take them out of the list",
        )
    pairs: defaultdict[str, list[str]] = defaultdict(list)
    for enroll, test in table.pairs():
        pairs[test].append(enroll)
    return dict(pairs)
