"""Log-likelihood ratios of a PLDA: embeddings into its space, then pairs or whole rectangles.

With u the mean of n enrolment embeddings and v a test embedding, both in the space where W is
unit and B is diag(psi):

    llr = log N(v; a u, s) - log N(v; 0, 1 + psi)
    a = n psi / (n psi + 1),  s = 1 + psi / (n psi + 1)

which falls apart into a term of u, a term of v and one dot product.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from sv_cli.backend.center import BLOCK_ROWS, blocks, check_vectors
from sv_cli.backend.lda import sorted_eigenvectors
from sv_cli.backend.plda import Matrix, Plda, project_plda
from sv_cli.errors import ShapeError, SvError

LengthNorm = Literal["psi", "simple", "none"]
PAIR_BLOCK = 1024

Vectors = NDArray[np.float32]
Rows = NDArray[np.integer]


def project(
    plda: Plda,
    matrix: NDArray[np.floating],
    ids: Sequence[str],
    *,
    num_utts: NDArray[np.integer] | None = None,
    length_norm: LengthNorm = "psi",
) -> Vectors:
    """Take embeddings into the space of the model.

    Parameters
    ----------
    matrix : (num_embeddings, D)
    ids : sequence of str
        The key of each row, for messages.
    num_utts : (num_embeddings,) int or None
        Utterances that each was averaged from; None for one each.
    length_norm : {"psi", "simple", "none"}
        "psi" scales to sqrt(D / sum(y^2 / (psi + 1/n))), "simple" to sqrt(D) / |y|.

    Returns
    -------
    projected : (num_embeddings, D) float32
        Rounded to float32 as in ivector-plda-scoring.
    """
    if matrix.shape[1] != plda.dim:
        raise ShapeError(
            f"the embeddings have dimension {matrix.shape[1]}, the PLDA has {plda.dim}"
        )
    counts = np.ones(len(matrix)) if num_utts is None else num_utts.astype(np.float64)
    if len(counts) and counts.min() < 1:
        raise SvError(f"`{ids[int(counts.argmin())]}` has {int(counts.min())} utterances")
    projected = np.empty(matrix.shape, dtype=np.float32)
    lengths = np.empty(len(matrix))
    for rows in blocks(len(matrix), BLOCK_ROWS):
        y = (matrix[rows].astype(np.float64) - plda.mean) @ plda.transform.T
        lengths[rows] = np.sqrt(np.einsum("ij,ij->i", y, y))
        with np.errstate(divide="ignore", invalid="ignore"):  # reported below, with the keys
            y *= _length_factor(plda, y, counts[rows], length_norm)[:, None]
        projected[rows] = y
    check_vectors(lengths, ids, what="embeddings less the PLDA mean")
    return projected


def _length_factor(plda: Plda, y: Matrix, counts: Matrix, length_norm: LengthNorm) -> Matrix:
    if length_norm == "none":
        return np.ones(len(y))
    if length_norm == "simple":
        return np.asarray(np.sqrt(plda.dim / np.einsum("ij,ij->i", y, y)))
    squares = y * y
    if np.all(counts == counts[0]):
        return np.asarray(np.sqrt(plda.dim / (squares @ (1 / (plda.psi + 1 / counts[0])))))
    weights = 1 / (plda.psi + 1 / counts[:, None])  # (rows, D)
    return np.asarray(np.sqrt(plda.dim / np.einsum("ij,ij->i", squares, weights)))


@dataclass(frozen=True)
class _Terms:
    """What the ratio needs for each number of enrolment utterances n.

    Attributes
    ----------
    kinds : (num_enroll,) int
        Row of `gain` and `test_weight` of each enrolment model.
    gain : (num_kinds, D)
        a / s: weight of u v.
    test_weight : (num_kinds, D)
        (1/(1 + psi) - 1/s) / 2: weight of v^2.
    enroll_term : (num_enroll,)
        Constant of n and the weighted u^2.
    """

    kinds: NDArray[np.intp]
    gain: Matrix
    test_weight: Matrix
    enroll_term: Matrix


def _terms(plda: Plda, enroll: Vectors, num_utts: NDArray[np.integer] | None) -> _Terms:
    counts = np.ones(len(enroll)) if num_utts is None else num_utts.astype(np.float64)
    distinct, kinds = np.unique(counts, return_inverse=True)
    n = distinct[:, None]
    a = n * plda.psi / (n * plda.psi + 1)  # (num_kinds, D)
    s = 1 + plda.psi / (n * plda.psi + 1)
    total = 1 + plda.psi
    constant = 0.5 * (np.log(total) - np.log(s)).sum(axis=1)
    enroll_weight = -0.5 * a * a / s
    enroll_term = np.empty(len(enroll))
    for rows in blocks(len(enroll)):
        squares = enroll[rows].astype(np.float64) ** 2
        kind = kinds[rows]
        enroll_term[rows] = constant[kind] + _rows_dot(squares, enroll_weight, kind)
    return _Terms(kinds, a / s, 0.5 * (1 / total - 1 / s), enroll_term)


def _rows_dot(squares: Matrix, weights: Matrix, kind: NDArray[np.intp]) -> Matrix:
    """Dot product of each row with the weights of its kind."""
    if len(weights) == 1:
        return np.asarray(squares @ weights[0])
    return np.asarray(np.einsum("ij,ij->i", squares, weights[kind]))


def _test_terms(terms: _Terms, test: Vectors) -> Matrix:
    """Term of each test embedding for each kind of model, (num_test, num_kinds)."""
    result = np.empty((len(test), len(terms.gain)))
    for rows in blocks(len(test)):
        result[rows] = test[rows].astype(np.float64) ** 2 @ terms.test_weight.T
    return result


class PairScorer:
    """Log-likelihood ratios of listed pairs; what belongs to one side is worked out once.

    Parameters
    ----------
    enroll : (num_enroll, D) float32
        From `project` with the same `num_utts`.
    test : (num_test, D) float32
        From `project`.
    num_utts : (num_enroll,) int or None
        Utterances of each enrolment model; None for one each.
    """

    def __init__(
        self,
        plda: Plda,
        enroll: Vectors,
        test: Vectors,
        *,
        num_utts: NDArray[np.integer] | None = None,
    ) -> None:
        self._enroll, self._test = enroll, test
        self._terms = _terms(plda, enroll, num_utts)
        self._test_term = _test_terms(self._terms, test)

    def score(self, enroll_rows: Rows, test_rows: Rows) -> Matrix:
        """Return the natural logarithm of each ratio, (num_trials,) float64."""
        terms = self._terms
        scores = np.empty(len(enroll_rows))
        for part in blocks(len(scores), PAIR_BLOCK):
            u_rows, v_rows = enroll_rows[part], test_rows[part]
            kind = terms.kinds[u_rows]
            product = self._enroll[u_rows].astype(np.float64)
            product *= self._test[v_rows]
            cross = _rows_dot(product, terms.gain, kind)
            scores[part] = cross + terms.enroll_term[u_rows] + self._test_term[v_rows, kind]
        return scores


def score_dense(
    plda: Plda, enroll: Vectors, test: Vectors, *, num_utts: NDArray[np.integer] | None = None
) -> Matrix:
    """Log-likelihood ratio of every enrolment model with every test embedding.

    Returns
    -------
    scores : (num_test, num_enroll) float64
    """
    terms = _terms(plda, enroll, num_utts)
    weighted = enroll * terms.gain[terms.kinds]  # (num_enroll, D) float64
    scores = test.astype(np.float64) @ weighted.T
    scores += terms.enroll_term
    scores += _test_terms(terms, test)[:, terms.kinds]
    return np.asarray(scores)


def score_conversation(
    plda: Plda,
    matrix: NDArray[np.floating],
    ids: Sequence[str],
    *,
    target_energy: float = 0.5,
    length_norm: LengthNorm = "psi",
) -> Matrix:
    """Ratio of every pair of segments of one recording, in its own principal directions.

    Parameters
    ----------
    matrix : (num_segments, D)
    target_energy : float
        Share of the recording's variance that is kept; 1 keeps all directions.

    Returns
    -------
    scores : (num_segments, num_segments) float64

    Source
    ------
    Kaldi ivector-plda-scoring-dense.
    """
    if not 0 < target_energy <= 1:
        raise ShapeError(f"the target energy {target_energy} is not within 0 and 1")
    if target_energy < 0.999:
        linear = _principal_directions(matrix, target_energy)
        plda = project_plda(plda, linear)
        matrix = matrix.astype(np.float64) @ linear.T
    projected = project(plda, matrix, ids, length_norm=length_norm)
    # Kaldi lets the row enrol and the column test; the ratio of one utterance each is symmetric
    return score_dense(plda, projected, projected)


def _principal_directions(matrix: NDArray[np.floating], target_energy: float) -> Matrix:
    values, directions = sorted_eigenvectors(np.cov(matrix.T.astype(np.float64), bias=True))
    share = np.cumsum(values) / values.sum()
    # one direction more than reaches the target, as in ivector-plda-scoring-dense
    kept = int(np.searchsorted(share, target_energy, side="right")) + 2
    return np.asarray(directions[:, :kept].T)
