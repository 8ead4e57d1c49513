"""Score normalisation by a cohort of impostors: z, t, zt, tz, s-norm and adaptive s-norm.

A score is shifted and scaled by the mean and deviation of the scores that its enrolment and test
embedding get against a cohort. The cohort rectangle (145,160 x 5,994 for the large VoxCeleb list)
is worked off in blocks: one float32 matrix product and one partial selection each.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, assert_never, get_args

import numpy as np
from numpy.typing import NDArray

from sv_cli.backend.center import blocks
from sv_cli.backend.cosine import Rows, check_dims
from sv_cli.errors import ShapeError, SvError, name_some

Method = Literal["asnorm", "snorm", "z", "t", "zt", "tz"]
Selection = Literal["own", "other"]
METHODS: tuple[Method, ...] = get_args(Method)

BLOCK_CELLS = 1 << 21  # 8 MiB of float32 cohort scores at a time
PAIR_CELLS = 1 << 19

Vectors = NDArray[np.float32]
Adjust = Callable[[Vectors], Vectors]


@dataclass(frozen=True)
class CohortStats:
    """What the cohort says of each embedding.

    Attributes
    ----------
    mean, std : (num_embeddings,) float64
        Mean and population deviation of the kept cohort scores.
    """

    mean: NDArray[np.float64]
    std: NDArray[np.float64]


def check_cohort(num_cohort: int, top_n: int | None) -> int:
    """Return how many cohort members are kept: `top_n`, or all when it is None.

    Raises
    ------
    ShapeError
        For a cohort of fewer than two members, and when `top_n` is not within 2..num_cohort.
    """
    if num_cohort < 2:
        raise ShapeError(
            f"the cohort has {num_cohort} member{'s' if num_cohort != 1 else ''}; "
            "a deviation needs at least 2",
            hint="give the speaker means of a training set, some hundred or more",
        )
    if top_n is None:
        return num_cohort
    if not 2 <= top_n <= num_cohort:
        raise ShapeError(
            f"top-n is {top_n}, but must be within 2 and the {num_cohort} members of the cohort",
            hint=f"use `--top-n {num_cohort}`, or `--method snorm` for the whole cohort",
        )
    return top_n


def cohort_stats(
    embeddings: Vectors, cohort: Vectors, *, top_n: int | None = None, adjust: Adjust | None = None
) -> CohortStats:
    """Mean and deviation of the `top_n` highest cohort scores of each embedding.

    Parameters
    ----------
    embeddings : (num_embeddings, embedding_dim) float32
        Rows of length 1.
    cohort : (num_cohort, embedding_dim) float32
        Rows of length 1.
    top_n : int or None
        Members kept for each embedding; None keeps all.
    adjust : function or None
        Changes a block of cohort scores before the selection (zt-norm, tz-norm).

    Returns
    -------
    stats : CohortStats
        Population deviation (divide by top_n), as in WeSpeaker's score_norm.

    Raises
    ------
    ShapeError
        When the dimensions differ or `top_n` does not fit the cohort.

    Source
    ------
    Matejka et al., "Analysis of Score Normalization in Multilingual Speaker Recognition",
    Interspeech 2017, adaptive s-norm 1.
    """
    check_dims(embeddings, cohort)
    kept = check_cohort(len(cohort), top_n)
    stats = CohortStats(np.empty(len(embeddings)), np.empty(len(embeddings)))
    size = max(1, BLOCK_CELLS // len(cohort))
    buffer = np.empty((min(size, len(embeddings)), len(cohort)), dtype=np.float32)
    for rows in blocks(len(embeddings), size):
        scores = np.matmul(embeddings[rows], cohort.T, out=buffer[: rows.stop - rows.start])
        if adjust is not None:
            scores = adjust(scores)
        if kept < len(cohort):
            scores.partition(len(cohort) - kept, axis=1)
            scores = scores[:, len(cohort) - kept :]
        _moments(scores, stats, rows)
    return stats


def _moments(scores: Vectors, stats: CohortStats, rows: slice) -> None:
    """Fill in mean and deviation of each row of `scores`, which are centred in place."""
    mean = scores.mean(axis=1, dtype=np.float64)
    # from the centred scores, as E[x^2] - E[x]^2 loses the digits of a narrow cohort
    scores -= mean.astype(np.float32)[:, None]
    stats.mean[rows] = mean
    stats.std[rows] = np.sqrt(np.einsum("ij,ij->i", scores, scores) / scores.shape[1])


def cohort_model_stats(cohort: Vectors) -> CohortStats:
    """Statistics of each cohort member against all the others, for zt-norm and tz-norm."""
    check_cohort(len(cohort), None)
    if len(cohort) < 3:
        raise ShapeError("zt-norm and tz-norm need at least 3 cohort members")
    size = max(1, BLOCK_CELLS // len(cohort))
    stats = CohortStats(np.empty(len(cohort)), np.empty(len(cohort)))
    for rows in blocks(len(cohort), size):
        scores = cohort[rows] @ cohort.T
        others = np.arange(len(cohort)) != np.arange(rows.start, rows.stop)[:, None]
        # (rows, num_cohort - 1): without the score of a member against itself
        _moments(scores[others].reshape(len(scores), -1), stats, rows)
    return stats


def check_deviation(stats: CohortStats, ids: list[str], *, what: str) -> None:
    """Raise when a deviation is zero, NaN or infinite, naming the first offenders."""
    bad = np.flatnonzero(~(np.isfinite(stats.mean) & np.isfinite(stats.std) & (stats.std > 0)))
    if len(bad):
        names = name_some([ids[row] for row in bad])
        raise SvError(
            f"{len(bad)} of {len(ids)} {what} have no deviation against the cohort: {names}",
            hint="are all members of the cohort the same embedding?",
        )


def apply_norm(
    scores: NDArray[np.float64],
    enroll: CohortStats,
    test: CohortStats,
    *,
    enroll_rows: Rows,
    test_rows: Rows,
    method: Method = "asnorm",
) -> NDArray[np.float64]:
    """Normalise trial scores by the statistics of their two sides.

    Parameters
    ----------
    scores : (num_trials,) float64
        Raw scores.
    enroll, test : CohortStats
        Of each enrolment and each test embedding. For zt-norm `test` comes from cohort scores
        that were z-normed, for tz-norm `enroll` from cohort scores that were t-normed.
    enroll_rows, test_rows : (num_trials,) int

    Returns
    -------
    normalised : (num_trials,) float64
        s-norm: the mean of the z-normed and the t-normed score.
    """

    def z(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return (values - enroll.mean[enroll_rows]) / enroll.std[enroll_rows]

    def t(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return (values - test.mean[test_rows]) / test.std[test_rows]

    match method:
        case "asnorm" | "snorm":
            return 0.5 * (z(scores) + t(scores))
        case "z":
            return z(scores)
        case "t":
            return t(scores)
        case "zt":
            return t(z(scores))
        case "tz":
            return z(t(scores))
        case _:
            assert_never(method)


def side_stats(
    method: Method,
    enroll: Vectors,
    test: Vectors,
    cohort: Vectors,
    *,
    top_n: int | None = None,
) -> tuple[CohortStats, CohortStats]:
    """Cohort statistics of both sides, as `apply_norm` wants them for `method`.

    zt-norm takes the test embedding's cohort scores after each was z-normed by its cohort model;
    tz-norm takes the enrolment's cohort scores after each was t-normed by its cohort utterance.
    The same array given for both sides is worked off once.

    Source
    ------
    Auckenthaler, Carey and Lloyd-Thomas, "Score Normalization for Text-Independent Speaker
    Verification Systems", Digital Signal Processing 10, 2000.
    """
    if method in ("zt", "tz"):
        members = cohort_model_stats(cohort)
        shift, scale = members.mean.astype(np.float32), members.std.astype(np.float32)

        def adjust(scores: Vectors) -> Vectors:
            scores -= shift
            scores /= scale
            return scores

        if method == "zt":
            plain = cohort_stats(enroll, cohort, top_n=top_n)
            return plain, cohort_stats(test, cohort, top_n=top_n, adjust=adjust)
        plain = cohort_stats(test, cohort, top_n=top_n)
        return cohort_stats(enroll, cohort, top_n=top_n, adjust=adjust), plain
    stats = cohort_stats(enroll, cohort, top_n=top_n)
    return stats, stats if test is enroll else cohort_stats(test, cohort, top_n=top_n)


def top_members(embeddings: Vectors, cohort: Vectors, *, top_n: int) -> NDArray[np.int32]:
    """Rows of the `top_n` cohort members that score highest with each embedding, in no order.

    Returns
    -------
    members : (num_embeddings, top_n) int32
    """
    check_dims(embeddings, cohort)
    kept = check_cohort(len(cohort), top_n)
    members = np.empty((len(embeddings), kept), dtype=np.int32)
    for rows in blocks(len(embeddings), max(1, BLOCK_CELLS // len(cohort))):
        scores = embeddings[rows] @ cohort.T
        order = np.argpartition(scores, len(cohort) - kept, axis=1)
        members[rows] = order[:, len(cohort) - kept :]
    return members


def crossed_stats(
    embeddings: Vectors,
    cohort: Vectors,
    members: NDArray[np.int32],
    *,
    rows: Rows,
    other_rows: Rows,
) -> CohortStats:
    """Statistics of each trial's one side over the cohort members that the other side selected.

    Parameters
    ----------
    embeddings : (num_embeddings, embedding_dim) float32
        Of the side that is scored against the cohort.
    members : (num_others, top_n) int32
        Cohort rows selected by each embedding of the other side (`top_members`).
    rows, other_rows : (num_trials,) int
        The trial's embedding here and on the other side.

    Returns
    -------
    stats : CohortStats
        One entry a trial.

    Source
    ------
    Matejka et al., Interspeech 2017, adaptive s-norm 2.
    """
    stats = CohortStats(np.empty(len(rows)), np.empty(len(rows)))
    order = np.argsort(rows, kind="stable")  # groups the trials of one block of embeddings
    ranked = rows[order]
    for block in blocks(len(embeddings), max(1, BLOCK_CELLS // len(cohort))):
        first, last = np.searchsorted(ranked, [block.start, block.stop])
        if first == last:
            continue
        scores = embeddings[block] @ cohort.T
        for part in blocks(int(last - first), max(1, PAIR_CELLS // members.shape[1])):
            trials = order[first:last][part]
            chosen = members[other_rows[trials]]  # (trials, top_n)
            kept = scores[(rows[trials] - block.start)[:, None], chosen]
            mean = kept.mean(axis=1, dtype=np.float64)
            stats.mean[trials] = mean
            stats.std[trials] = np.sqrt(np.mean((kept - mean[:, None]) ** 2, axis=1))
    return stats
