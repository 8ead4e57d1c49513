import kaldiio
import numpy as np
import pytest
from golden_vectors import align_signs, read_groups, read_vectors

from sv_cli.backend.center import mean_vector, normalize_length, subtract_mean
from sv_cli.backend.lda import apply_affine, fit_lda, fit_whitening
from sv_cli.errors import ShapeError


def speakers(num_speakers=30, num_utts=8, dim=5):
    generator = np.random.default_rng(3)
    centres = generator.standard_normal((num_speakers, dim)) * 3
    noise = generator.standard_normal((num_speakers, num_utts, dim)) @ generator.standard_normal(
        (dim, dim)
    )
    matrix = (centres[:, None] + noise + 7).reshape(-1, dim).astype(np.float32)
    return matrix, list(np.arange(num_speakers * num_utts).reshape(num_speakers, -1))


def test_within_covariance_becomes_unit_and_between_diagonal():
    matrix, groups = speakers()
    mapped = apply_affine(fit_lda(matrix, groups, lda_dim=5), matrix).astype(np.float64)
    means = np.stack([mapped[group].mean(0) for group in groups])
    within = np.mean([np.cov(mapped[g].T, bias=True) for g in groups], axis=0)
    np.testing.assert_allclose(within, np.eye(5), atol=1e-5)
    between = np.cov(means.T, bias=True)
    np.testing.assert_allclose(between, np.diag(np.diag(between)), atol=1e-4)
    assert np.all(np.diff(np.diag(between)) < 0)
    np.testing.assert_allclose(mapped.mean(0), 0, atol=1e-5)


def test_whitening_makes_the_total_covariance_unit():
    matrix, _ = speakers()
    mapped = apply_affine(fit_whitening(matrix), matrix)
    np.testing.assert_allclose(np.cov(mapped.T, bias=True), np.eye(5), atol=1e-4)
    with pytest.raises(ShapeError, match="more than 5"):
        fit_whitening(matrix[:5])


def test_a_transform_without_offset():
    linear = np.array([[1.0, 2.0]])
    rows = np.array([[1, 1], [2, 0]], dtype=np.float32)
    assert apply_affine(linear, rows).tolist() == [[3.0], [2.0]]


def test_what_cannot_be():
    matrix, groups = speakers()
    with pytest.raises(ShapeError, match="to 6 dimensions is not possible from 5"):
        fit_lda(matrix, groups, lda_dim=6)
    with pytest.raises(ShapeError, match="2 speakers"):
        fit_lda(matrix, groups[:1], lda_dim=1)
    with pytest.raises(ShapeError, match="3 x 9 does not fit embeddings of dimension 5"):
        apply_affine(np.zeros((3, 9)), matrix)
    with pytest.raises(ShapeError, match="all the same"):
        fit_lda(np.ones_like(matrix), groups, lda_dim=2)


@pytest.mark.parametrize(("factor", "name"), [(0.0, "lda.mat"), (0.1, "lda.tcf0.1.mat")])
def test_kaldi(shared, factor, name):
    golden = shared / "golden/kaldi/plda"
    train = read_vectors(golden / "train.ark")
    centred = subtract_mean(train.matrix, mean_vector(train.matrix))
    groups = read_groups(golden / "train.spk2utt", train)
    lda = fit_lda(centred, groups, lda_dim=20, total_covariance_factor=factor)
    reference = kaldiio.load_mat(str(golden / name))
    np.testing.assert_allclose(align_signs(lda, reference), reference, atol=2e-7, rtol=0)
    if factor == 0:
        mapped = normalize_length(apply_affine(reference, centred), train.ids, scaleup=True)
        expected = read_vectors(golden / "train.lda.ln.ark").matrix
        np.testing.assert_allclose(mapped, expected, atol=2e-6, rtol=0)
