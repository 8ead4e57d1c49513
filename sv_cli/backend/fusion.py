"""Fusion of systems: a weighted sum of their scores that is a log-likelihood ratio (nats)."""

from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike
from pydantic import Field, FiniteFloat

from sv_cli.backend.logistic import Bools, Floats, fit_logistic
from sv_cli.backend.score_model import ScoreModel
from sv_cli.errors import ShapeError
from sv_cli.metrics.cllr import cllr


class Fusion(ScoreModel):
    """Weights of the systems, in the order of their score files, and an offset."""

    kind_name: ClassVar[str] = "fusion"

    kind: Literal["fusion"] = "fusion"
    systems: tuple[str, ...] = Field(min_length=1)
    weights: tuple[FiniteFloat, ...]
    offset: FiniteFloat
    p_target: float = Field(default=0.5, gt=0, lt=1)
    cllr: FiniteFloat
    lineages: tuple[dict[str, Any] | None, ...] = Field(
        default=(), description="lineage of the scores of each system"
    )
    held_out_cllr: FiniteFloat | None = Field(
        default=None, description="Cllr of folds of speakers that were left out of the training"
    )

    def system(self, index: int) -> ScoreModel:
        """Return the model with the lineage of one system's scores, None where it is unknown."""
        lineage = self.lineages[index] if self.lineages else None
        return self.model_copy(update={"lineage": lineage})

    def apply(self, scores: ArrayLike) -> Floats:
        """Return the fused log-likelihood ratio of each row of scores (num_trials, num_systems).

        Raises
        ------
        ShapeError
            When the number of systems is another than in training.
        """
        rows = np.asarray(scores, dtype=np.float64)
        if rows.ndim != 2 or rows.shape[1] != len(self.weights):
            raise ShapeError(
                f"the fusion was trained on {len(self.weights)} systems, scores are {rows.shape}"
            )
        return np.asarray(rows @ np.array(self.weights) + self.offset)


def fit_fusion(
    scores: Floats, target: Bools, systems: tuple[str, ...], *, p_target: float = 0.5
) -> Fusion:
    """Return the fusion that minimises the prior-weighted cost on these trials.

    Parameters
    ----------
    scores : ndarray of float64, shape (num_trials, num_systems)
    target : ndarray of bool, shape (num_trials,)
    systems : tuple of str
        Names of the systems.
    """
    fit = fit_logistic(scores, target, p_target=p_target)
    num_target = int(np.count_nonzero(target))
    return Fusion(
        systems=systems,
        weights=tuple(fit.weights.tolist()),
        offset=fit.offset,
        p_target=p_target,
        cllr=cllr(fit.apply(scores), target),
        num_target=num_target,
        num_nontarget=len(target) - num_target,
    )
