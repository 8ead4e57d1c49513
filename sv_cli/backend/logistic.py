"""Prior-weighted logistic regression, shared by calibration, fusion and quality measures.

The sum s = weights . x + offset is a log-likelihood ratio in nats. With logit P = log(P / (1 - P))
of the prior P the fit was made for, it minimises

    P mean over targets of log(1 + e^-(s + logit P))
    + (1 - P) mean over nontargets of log(1 + e^(s + logit P))

which for P = 1/2 is Cllr up to a factor (Brummer and du Preez 2006).
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sv_cli.errors import SettingsError, ShapeError, TableError

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

MOST_ITERATIONS = 100
_BLOCK_TRIALS = 512
CONVERGED = 1e-12  # half the squared Newton decrement, in nats


@dataclass(frozen=True)
class LogisticFit:
    """A fitted linear log-likelihood ratio.

    Attributes
    ----------
    weights : ndarray of float64, shape (num_features,)
    offset : float
    num_iterations : int
        Newton steps that were taken.
    separable : bool
        Whether every target scores above every nontarget; only the ridge bounds the weights then.
    """

    weights: Floats
    offset: float
    num_iterations: int
    separable: bool

    def apply(self, features: ArrayLike) -> Floats:
        """Return the log-likelihood ratio of each row of `features`, shape (num_trials,)."""
        return np.asarray(features, dtype=np.float64) @ self.weights + self.offset


@dataclass(frozen=True)
class _Problem:
    """Standardised features with a last column of ones, and the weight of each trial."""

    columns: Floats  # (num_features + 1, num_trials)
    signs: Floats  # -1 for targets, +1 for nontargets
    weights: Floats
    logit_prior: float
    penalty: Floats  # (num_features + 1,), 0 for the offset

    def margins(self, parameters: Floats) -> Floats:
        """Return how far each trial is on the wrong side, in nats."""
        sums = np.empty(len(self.signs))
        for part in self._parts():
            np.matmul(parameters, self.columns[:, part], out=sums[part])
        sums += self.logit_prior
        return np.multiply(sums, self.signs, out=sums)

    def loss(self, parameters: Floats) -> float:
        costs = np.logaddexp(0.0, self.margins(parameters)) * self.weights
        return float(costs.sum()) + 0.5 * float(self.penalty @ parameters**2)

    def newton_step(self, parameters: Floats) -> tuple[Floats, float]:
        """Return the Newton step and half its squared decrement."""
        margins = self.margins(parameters)
        rate = 0.5 + 0.5 * np.tanh(0.5 * margins)  # the logistic function, without overflow
        slope, bend = self.weights * self.signs * rate, self.weights * rate * (1 - rate)
        gradient = self.penalty * parameters
        hessian = np.diag(self.penalty + 1e-15)
        for part in self._parts():
            block = self.columns[:, part]
            gradient += block @ slope[part]
            hessian += (block * bend[part]) @ block.T
        step = np.asarray(-np.linalg.solve(hessian, gradient), dtype=np.float64)
        return step, -0.5 * float(gradient @ step)

    def _parts(self) -> Iterator[slice]:
        """Yield blocks that stay in cache, too small for BLAS to wake (and wait for) threads."""
        for start in range(0, len(self.signs), _BLOCK_TRIALS):
            yield slice(start, start + _BLOCK_TRIALS)


def fit_logistic(
    features: ArrayLike, target: ArrayLike, *, p_target: float = 0.5, ridge: float = 1e-6
) -> LogisticFit:
    """Return the converged fit of a linear log-likelihood ratio.

    Parameters
    ----------
    features : array_like of float, shape (num_trials, num_features)
    target : array_like of bool, shape (num_trials,)
    p_target : float
        Target prior that the fit is made for.
    ridge : float
        Penalty on the weights of standardised features; keeps linearly dependent features and
        separable classes from running away, and is far below what changes a result.

    Raises
    ------
    ShapeError
        When the two have not the same length.
    TableError
        When there is only one class, or a feature is not finite.
    SettingsError
        When the prior is not inside (0, 1).
    """
    rows = np.asarray(features, dtype=np.float64)
    is_target = np.asarray(target, dtype=np.bool_)
    _check(rows, is_target, p_target)
    # one feature after the other: no copy of all of them
    mean, scale = np.array([(row.mean(), row.std()) for row in rows.T]).reshape(-1, 2).T
    scale = np.where(scale > 1e-12 * (1 + np.abs(mean)), scale, np.inf)  # constants get weight 0
    problem = _standardise(rows, is_target, mean, scale, p_target=p_target, ridge=ridge)
    parameters, steps = _minimise(problem)
    weights = parameters[:-1] / scale
    margins = problem.signs * (parameters @ problem.columns)
    separable = bool(margins[is_target].max() < -margins[~is_target].max())
    return LogisticFit(weights, float(parameters[-1] - weights @ mean), steps, separable)


def _check(rows: Floats, is_target: Bools, p_target: float) -> None:
    if rows.ndim != 2 or is_target.shape != rows.shape[:1]:
        raise ShapeError(f"features {rows.shape} and labels {is_target.shape} do not match")
    if not 0 < p_target < 1:
        raise SettingsError(f"`--p-target {p_target:g}` is not inside (0, 1)")
    if is_target.all() or not is_target.any():
        raise TableError("logistic regression needs target and nontarget trials")
    if not np.isfinite(rows).all():
        first = np.flatnonzero(~np.isfinite(rows).all(axis=1))[0]
        raise TableError(f"a feature of trial {first + 1} is not finite")


def _standardise(
    rows: Floats, is_target: Bools, mean: Floats, scale: Floats, *, p_target: float, ridge: float
) -> _Problem:
    columns = np.ones((rows.shape[1] + 1, len(rows)))
    for column, row, centre, spread in zip(columns, rows.T, mean, scale, strict=False):
        np.subtract(row, centre, out=column)
        column /= spread
    num_target = np.count_nonzero(is_target)
    shares = p_target / num_target, (1 - p_target) / (len(rows) - num_target)
    return _Problem(
        columns=columns,
        signs=np.where(is_target, -1.0, 1.0),
        weights=np.where(is_target, *shares),
        logit_prior=math.log(p_target / (1 - p_target)),
        penalty=np.append(np.full(rows.shape[1], ridge), 0.0),
    )


def _minimise(problem: _Problem) -> tuple[Floats, int]:
    """Return the minimiser by Newton's method with step halving, and the number of steps."""
    parameters = np.zeros(len(problem.columns))
    loss = problem.loss(parameters)
    for iteration in range(1, MOST_ITERATIONS + 1):
        step, decrement = problem.newton_step(parameters)
        if decrement < CONVERGED:
            return parameters + step, iteration
        share = 1.0
        while (trial := problem.loss(parameters + share * step)) > loss - 1e-4 * share * decrement:
            share /= 2
            if share < 1e-10:  # rounding is all that is left
                return parameters, iteration
        parameters, loss = parameters + share * step, trial
    return parameters, MOST_ITERATIONS
