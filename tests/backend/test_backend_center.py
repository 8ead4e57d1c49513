import numpy as np
import pytest
from golden_vectors import read_text_matrix, read_vectors

from sv_cli.backend.center import (
    check_vectors,
    magnitudes,
    mean_vector,
    normalize_length,
    subtract_mean,
)
from sv_cli.errors import ShapeError, SvError


def test_by_hand():
    matrix = np.array([[3.0, 4.0], [0.0, 2.0]], dtype=np.float32)
    assert mean_vector(matrix).tolist() == [1.5, 3.0]
    assert magnitudes(matrix).tolist() == [5.0, 2.0]
    unit = normalize_length(matrix.copy(), ["a", "b"])
    np.testing.assert_allclose(unit, [[0.6, 0.8], [0, 1]], atol=1e-7)
    scaled = normalize_length(matrix.copy(), ["a", "b"], scaleup=True)
    np.testing.assert_allclose(scaled, np.sqrt(2) * unit, atol=1e-6)


def test_a_long_matrix_is_worked_in_blocks():
    matrix = np.random.default_rng(0).standard_normal((9000, 3)).astype(np.float32)
    mean = mean_vector(matrix)
    centred = subtract_mean(matrix.copy(), mean)
    np.testing.assert_allclose(centred, matrix - mean, atol=1e-6)
    np.testing.assert_allclose(
        magnitudes(centred), np.linalg.norm(matrix - mean, axis=1), rtol=1e-6
    )


@pytest.mark.parametrize(("value", "word"), [(np.nan, "NaN"), (np.inf, "NaN"), (0.0, "zero")])
def test_first_offenders_are_named(value, word):
    matrix = np.ones((8, 2), dtype=np.float32)
    matrix[1:] = value
    with pytest.raises(SvError, match=rf"7 of 8 .*{word}.*`u1`.*`u5` and 2 more"):
        normalize_length(matrix, [f"u{row}" for row in range(8)])


def test_good_vectors_pass():
    check_vectors(np.array([1.0, 2.0]), ["a", "b"])


def test_wrong_mean_and_nothing_to_average():
    with pytest.raises(ShapeError, match=r"dimension 2, the mean has 3"):
        subtract_mean(np.ones((1, 2), dtype=np.float32), np.ones(3))
    with pytest.raises(ShapeError, match="no embeddings"):
        mean_vector(np.empty((0, 2), dtype=np.float32))


def test_kaldi_mean_and_length(shared):
    golden = shared / "golden/kaldi/plda"
    train, raw = read_vectors(golden / "train.ark"), read_vectors(golden / "eval.ark")
    mean = read_text_matrix(golden / "mean.vec")[0]
    np.testing.assert_allclose(mean_vector(train.matrix), mean, atol=1e-6)  # 7 digits in text
    centred = subtract_mean(raw.matrix.copy(), mean)
    np.testing.assert_allclose(centred, read_vectors(golden / "eval.submean.ark").matrix, atol=1e-6)
    scaled = normalize_length(raw.matrix.copy(), raw.ids, scaleup=True)
    np.testing.assert_allclose(scaled, read_vectors(golden / "eval.ln.ark").matrix, atol=2e-6)
    unit = normalize_length(raw.matrix.copy(), raw.ids)
    np.testing.assert_allclose(unit, read_vectors(golden / "eval.ln1.ark").matrix, atol=1e-6)
