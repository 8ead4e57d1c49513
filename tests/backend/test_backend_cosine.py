import numpy as np
import pytest
from golden_vectors import read_columns, read_vectors

from sv_cli.backend import cosine
from sv_cli.backend.center import mean_vector, normalize_length, subtract_mean
from sv_cli.backend.cosine import dot_pairs, iterate_dense, select_dense
from sv_cli.errors import ShapeError


@pytest.fixture
def sides():
    generator = np.random.default_rng(1)
    enroll, test = (generator.standard_normal((n, 8)).astype(np.float32) for n in (7, 11))
    return enroll, test


def test_pairs_equal_the_rectangle(sides, monkeypatch):
    enroll, test = sides
    expected = test @ enroll.T
    rows, columns = np.divmod(np.arange(expected.size), 7)
    monkeypatch.setattr(cosine, "PAIR_BLOCK", 10)
    scores = dot_pairs(enroll, test, enroll_rows=columns, test_rows=rows)
    np.testing.assert_allclose(scores, expected.ravel(), atol=1e-5)
    monkeypatch.setattr(cosine, "RECTANGLE_CELLS", 20)  # two test rows a block
    blocks = [(rows, scores.copy()) for rows, scores in iterate_dense(enroll, test)]
    assert [block[0].stop for block in blocks] == [2, 4, 6, 8, 10, 11]
    np.testing.assert_allclose(np.vstack([block[1] for block in blocks]), expected, atol=1e-5)


def test_dimensions_must_agree(sides):
    with pytest.raises(ShapeError, match="dimension 8, test embeddings 5"):
        dot_pairs(sides[0], sides[1][:, :5], enroll_rows=np.array([0]), test_rows=np.array([0]))


def test_selection_by_hand():
    enroll = np.eye(4, dtype=np.float32)
    test = np.array([[0.1, 0.9, 0.5, 0.5], [0.2, 0.0, 0.3, 0.1]], dtype=np.float32)

    def select(**limits):
        (kept,) = select_dense(enroll, test, **limits)
        return kept

    best = select(top_k=3)
    assert best.enroll.tolist() == [1, 2, 3, 2, 0, 3]
    assert best.test.tolist() == [0, 0, 0, 1, 1, 1]
    assert select(threshold=0.5).enroll.tolist() == [1, 2, 3]
    both = select(top_k=1, threshold=0.4)
    assert (both.enroll.tolist(), both.test.tolist()) == ([1], [0])
    assert len(select().score) == 8
    assert len(select(top_k=99).score) == 8


def _unit(generator, shape):
    matrix = generator.standard_normal(shape).astype(np.float32)
    return matrix / np.linalg.norm(matrix, axis=1, keepdims=True)


@pytest.mark.parametrize("top_k", [None, 1, 3, 40, 700, 5000])
@pytest.mark.parametrize("threshold", [None, 0.45])
def test_selection_is_brute_force(monkeypatch, top_k, threshold):
    """Many blocks, groups that do not come out even, and repeated embeddings."""
    monkeypatch.setattr(cosine, "BEST_COLUMNS", 330)
    monkeypatch.setattr(cosine, "RECTANGLE_CELLS", 3000)
    generator = np.random.default_rng(3)
    enroll, test = _unit(generator, (1003, 16)), _unit(generator, (40, 16))
    enroll[generator.integers(1003, size=300)] = enroll[generator.integers(1003, size=300)]
    every = np.divmod(np.arange(1003 * 40), 1003)
    scores = dot_pairs(enroll, test, enroll_rows=every[1], test_rows=every[0]).reshape(40, 1003)
    parts = list(select_dense(enroll, test, top_k=top_k, threshold=threshold))
    found = [
        (row, column, score)
        for part in parts
        for row, column, score in zip(part.test, part.enroll, part.score, strict=True)
    ]
    expected = []
    for row, line in enumerate(scores):
        order = sorted(range(1003), key=lambda column: (-line[column], column))
        kept = [c for c in order if threshold is None or line[c] >= threshold][:top_k]
        expected += [(row, column, line[column]) for column in kept]
    assert found == expected  # to the last bit, ties in the order of the enrolment


@pytest.mark.parametrize("part", ["dev", "eval"])
def test_wespeaker_cosine(shared, part):
    golden = shared / "golden/backend"
    mean = mean_vector(read_vectors(golden / "train.ark").matrix)
    vectors = read_vectors(golden / f"{part}.ark")
    unit = normalize_length(subtract_mean(vectors.matrix, mean), vectors.ids)
    enroll, test, score, _ = read_columns(golden / f"{part}.cosine-submean.score")
    rows = {"enroll_rows": vectors.rows(enroll), "test_rows": vectors.rows(test)}
    found = dot_pairs(unit, unit, **rows)
    np.testing.assert_allclose(found, np.array(score, dtype=float), atol=2e-5, rtol=0)


def test_kaldi_dot_products(shared):
    golden = shared / "golden/kaldi/plda"
    vectors = read_vectors(golden / "eval.ark")
    unit = normalize_length(vectors.matrix.copy(), vectors.ids)
    for name, matrix, atol in (("cos", unit, 1e-6), ("dot", vectors.matrix, 2e-5)):
        enroll, test, score = read_columns(golden / f"scores.{name}")
        rows = {"enroll_rows": vectors.rows(enroll), "test_rows": vectors.rows(test)}
        found = dot_pairs(matrix, matrix, **rows)
        np.testing.assert_allclose(found, np.array(score, dtype=float), atol=atol, rtol=0)
