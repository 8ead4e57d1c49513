"""Pool-adjacent-violators calibration through the convex hull of the ROC.

The upper convex hull of (false alarms, hits) and the isotonic regression of the labels on the
scores are one thing: each edge of the hull is a pooled block, its slope the block's likelihood
ratio (Fawcett and Niculescu-Mizil 2007; Brummer and du Preez 2013).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sv_cli.metrics.sweep import Floats, Sweep

Indices = NDArray[np.int64]

_BLOCK_POINTS = 1 << 16


@dataclass(frozen=True)
class Pav:
    """Pooled blocks of ascending score.

    Attributes
    ----------
    corners : ndarray of int64, shape (num_blocks + 1,)
        Points of the sweep that are corners of the hull; block k holds the distinct scores
        `values[corners[k]:corners[k + 1]]`.
    num_target, num_nontarget : ndarray of float64, shape (num_blocks,)
        What each block holds.
    """

    corners: Indices
    num_target: Floats
    num_nontarget: Floats

    @property
    def llr(self) -> Floats:
        """Log-likelihood ratio (nats) of each block, ascending; -inf and inf where one-sided."""
        with np.errstate(divide="ignore"):
            ratio = np.log(self.num_target) - np.log(self.num_nontarget)
        ratio -= np.log(self.num_target.sum() / self.num_nontarget.sum())
        return ratio


def pool(sweep: Sweep) -> Pav:
    """Return the blocks of the isotonic regression of the labels on the scores."""
    corners = hull_corners(sweep.false_alarms, sweep.misses)
    misses, false_alarms = sweep.misses[corners], sweep.false_alarms[corners]
    return Pav(corners, np.diff(misses), -np.diff(false_alarms))


def hull_corners(false_alarms: Floats, misses: Floats) -> Indices:
    """Return the points that are corners of the lower convex hull of (false alarms, misses).

    Points run from accepting all (misses 0) to rejecting all (false alarms 0).
    """
    kept = np.flatnonzero(_is_corner(false_alarms, misses))
    # A point on or above the line between its neighbours is no corner, for any other points dropped
    # in the same pass. Passes shrink the set quickly; the slow rest is walked with a stack.
    while len(kept) > 512:
        corner = _is_corner(false_alarms[kept], misses[kept])
        if np.count_nonzero(corner) > 0.95 * len(kept):
            break
        kept = kept[corner]
    return kept[_walk(false_alarms[kept].tolist(), misses[kept].tolist())]


def _is_corner(x: Floats, y: Floats) -> NDArray[np.bool_]:
    """Return which points are strictly below the line between their two neighbours."""
    corner = np.ones(len(x), dtype=np.bool_)
    for start in range(0, max(len(x) - 2, 0), _BLOCK_POINTS):
        part = slice(start, start + _BLOCK_POINTS + 2)  # with a neighbour on each side
        step_x, step_y = np.diff(x[part]), np.diff(y[part])
        # x descends, y ascends; the turn is to the right (clockwise) at a corner
        turn = step_x[:-1] * step_y[1:] - step_y[:-1] * step_x[1:]
        corner[start + 1 : start + 1 + len(turn)] = turn < 0
    return corner


def _walk(x: list[float], y: list[float]) -> list[int]:
    """Return the corners of the lower hull by Andrew's monotone chain."""
    stack: list[int] = []
    for point in range(len(x)):
        while len(stack) > 1:
            low, top = stack[-2], stack[-1]
            turn = (x[top] - x[low]) * (y[point] - y[top]) - (y[top] - y[low]) * (x[point] - x[top])
            if turn < 0:
                break
            stack.pop()
        stack.append(point)
    return stack
