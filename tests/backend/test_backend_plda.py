import numpy as np
import pytest
from golden_vectors import align_signs, read_columns, read_groups, read_text_matrix, read_vectors

from sv_cli.backend.plda import (
    Adaptation,
    Plda,
    adapt_plda,
    collect_stats,
    fit_plda,
    project_plda,
    smooth_plda,
)
from sv_cli.backend.plda_score import PairScorer, project, score_conversation, score_dense
from sv_cli.errors import ShapeError, SvError, TableError
from sv_cli.scoring.plda_file import format_plda, parse_plda, read_plda, write_plda


@pytest.fixture
def golden(shared):
    return shared / "golden/kaldi/plda"


def assert_same(found, reference, atol=1e-7):
    np.testing.assert_allclose(found.mean, reference.mean, atol=atol, rtol=0)
    np.testing.assert_allclose(found.psi, reference.psi, rtol=atol)
    turned = align_signs(found.transform, reference.transform)
    np.testing.assert_allclose(turned, reference.transform, atol=atol, rtol=0)


def small_plda():
    transform = np.random.default_rng(5).standard_normal((3, 3))
    return Plda(np.array([1.0, 2.0, 3.0]), transform, np.array([4.0, 1.0, 0.5]))


def log_normal(x, covariance):
    _, log_det = np.linalg.slogdet(covariance)
    return -0.5 * (len(x) * np.log(2 * np.pi) + log_det + x @ np.linalg.solve(covariance, x))


@pytest.mark.parametrize("num_utts", [1, 2, 5])
def test_ratio_is_that_of_two_gaussians(num_utts):
    """log p(u, v | same speaker) - log p(u) - log p(v), with u the mean of n embeddings."""
    plda = small_plda()
    within, between = plda.covariances()
    u, v = np.random.default_rng(6).standard_normal((2, 3)) * 3 + plda.mean
    cov_u, cov_v = within / num_utts + between, within + between
    joint = np.block([[cov_u, between], [between, cov_v]])
    a, b = u - plda.mean, v - plda.mean
    expected = (
        log_normal(np.concatenate([a, b]), joint) - log_normal(a, cov_u) - log_normal(b, cov_v)
    )
    counts = np.array([num_utts])
    enroll = project(plda, u[None], ["u"], num_utts=counts, length_norm="none")
    test = project(plda, v[None], ["v"], length_norm="none")
    rows = np.array([0])
    score = PairScorer(plda, enroll, test, num_utts=counts).score(rows, rows)
    np.testing.assert_allclose(score, expected, atol=1e-5)
    np.testing.assert_allclose(score_dense(plda, enroll, test, num_utts=counts)[0], score)


def test_pairs_equal_the_rectangle_for_mixed_counts():
    plda = small_plda()
    generator = np.random.default_rng(7)
    counts = np.array([1, 3, 2, 3])
    enroll = project(plda, generator.standard_normal((4, 3)), list("abcd"), num_utts=counts)
    test = project(plda, generator.standard_normal((5, 3)), list("vwxyz"))
    rows, columns = np.divmod(np.arange(20), 4)
    pairs = PairScorer(plda, enroll, test, num_utts=counts).score(columns, rows)
    np.testing.assert_allclose(
        pairs.reshape(5, 4), score_dense(plda, enroll, test, num_utts=counts)
    )


def test_estimate_finds_the_model_that_made_the_data():
    generator = np.random.default_rng(8)
    speaker = generator.standard_normal((3000, 2)) * [3.0, 1.0] + [5.0, -5.0]
    matrix = (speaker[:, None] + generator.standard_normal((3000, 4, 2))).reshape(-1, 2)
    plda = fit_plda(collect_stats(matrix, list(np.arange(12000).reshape(3000, 4))))
    within, between = plda.covariances()
    np.testing.assert_allclose(within, np.eye(2), atol=0.05)
    np.testing.assert_allclose(between, np.diag([9.0, 1.0]), atol=0.4)
    np.testing.assert_allclose(plda.mean, [5, -5], atol=0.2)


def test_speakers_of_one_utterance_and_one_speaker_are_refused():
    matrix = np.random.default_rng(9).standard_normal((6, 2))
    with pytest.raises(SvError, match="two or more embeddings"):
        fit_plda(collect_stats(matrix, [np.array([row]) for row in range(6)]))
    with pytest.raises(SvError, match="2 speakers, got 1"):
        fit_plda(collect_stats(matrix, [np.arange(6)]))
    with pytest.raises(SvError, match="NaN or infinite"):
        fit_plda(collect_stats(np.ones((6, 2)) * np.nan, [np.arange(3), np.arange(3, 6)]))


def test_shapes_that_do_not_fit():
    plda = small_plda()
    with pytest.raises(ShapeError, match="dimension 2, the PLDA has 3"):
        project(plda, np.ones((1, 2)), ["a"])
    with pytest.raises(ShapeError, match="dimension 2, the PLDA has 3"):
        adapt_plda(plda, np.ones((4, 2)), Adaptation())
    with pytest.raises(ShapeError, match="cannot have"):
        Plda(np.ones(2), np.eye(3), np.ones(3))
    with pytest.raises(SvError, match="zero vectors: `a`"):
        project(plda, plda.mean[None], ["a"])
    with pytest.raises(SvError, match="NaN or infinite values: `a`"):
        project(plda, plda.mean[None] * np.nan, ["a"])
    with pytest.raises(SvError, match="`b` has 0 utterances"):
        project(plda, np.ones((2, 3)), ["a", "b"], num_utts=np.array([1, 0]))
    with pytest.raises(ShapeError, match="smoothing"):
        smooth_plda(plda, 2.0)


def test_a_square_map_changes_no_score():
    plda = small_plda()
    linear = np.random.default_rng(10).standard_normal((3, 3))
    rows = np.random.default_rng(11).standard_normal((4, 3))
    mapped = project_plda(plda, linear)
    one = project(plda, rows, list("abcd"))
    two = project(mapped, rows @ linear.T, list("abcd"))
    np.testing.assert_allclose(
        score_dense(mapped, two, two), score_dense(plda, one, one), atol=1e-4
    )


@pytest.mark.parametrize("text", [False, True])
def test_file_comes_back_bit_equal(tmp_path, text):
    plda = small_plda()
    write_plda(tmp_path / "plda", plda, text=text)
    back = read_plda(tmp_path / "plda")
    for name in ("mean", "transform", "psi"):
        assert getattr(back, name).tobytes() == getattr(plda, name).tobytes()


@pytest.mark.parametrize("text", [False, True])
@pytest.mark.parametrize("kept", [0, 3, 40, 100, -9])
def test_cut_files_are_refused(text, kept):
    content = format_plda(small_plda(), text=text)
    with pytest.raises(TableError, match=r"`m/plda` is not a whole PLDA"):
        parse_plda(content[:kept], name="m/plda")


def test_a_missing_file_and_bad_values(tmp_path):
    with pytest.raises(TableError, match="cannot read"):
        read_plda(tmp_path / "none")
    bad = small_plda()
    bad.psi[1] = -1
    with pytest.raises(TableError, match="negative variances"):
        parse_plda(format_plda(bad))


TRAINED = {
    "plda": ("train.lda.ln.ark", "train.spk2utt", 10),
    "plda.raw": ("train.ark", "train.spk2utt", 10),
    "plda.uneq": ("train.lda.ln.ark", "train_uneq.spk2utt", 10),
    "plda.uneq.em50": ("train.lda.ln.ark", "train_uneq.spk2utt", 50),
}


@pytest.mark.parametrize("name", TRAINED)
def test_kaldi_estimate(golden, name):
    ark, spk2utt, num_iters = TRAINED[name]
    train = read_vectors(golden / ark)
    stats = collect_stats(train.matrix, read_groups(golden / spk2utt, train))
    assert_same(fit_plda(stats, num_iters=num_iters), read_plda(golden / name))


def test_kaldi_smoothing(golden):
    found = smooth_plda(read_plda(golden / "plda"), 0.1)
    assert_same(found, read_plda(golden / "plda.smooth0.1"))


ADAPTED = {
    "plda.adapt": ("plda", "adapt.lda.ln.ark", Adaptation()),
    "plda.adapt.sre16": ("plda", "adapt.lda.ln.ark", Adaptation(0.75, 0.25)),
    "plda.raw.adapt": ("plda.raw", "adapt.ark", Adaptation(0.3, 0.7, 0.0)),
}


@pytest.mark.parametrize("name", ADAPTED)
def test_kaldi_adaptation(golden, name):
    model, ark, options = ADAPTED[name]
    found = adapt_plda(read_plda(golden / model), read_vectors(golden / ark).matrix, options)
    assert_same(found, read_plda(golden / name))


@pytest.mark.parametrize("name", [*TRAINED, "plda.smooth0.1", *ADAPTED])
def test_kaldi_files_binary_and_text(golden, name):
    content = (golden / name).read_bytes()
    assert format_plda(parse_plda(content)) == content
    text = parse_plda((golden / f"{name}.txt").read_bytes())
    assert_same(text, parse_plda(content), atol=1e-5)  # Kaldi prints 7 digits


MEAN = ("enroll.mean.ark", "enroll.num_utts")
SCORED = {
    "plda.norm.n": ("plda", *MEAN, "psi"),
    "plda.nonorm.n": ("plda", *MEAN, "none"),
    "plda.simple.n": ("plda", *MEAN, "simple"),
    "plda.norm.1": ("plda", "enroll.mean.ark", None, "psi"),
    "plda.norm.3": ("plda", "enroll3.mean.ark", "enroll3.num_utts", "psi"),
    "plda.utt": ("plda", "eval.lda.ln.ark", None, "psi"),
    "uneq.norm.n": ("plda.uneq", *MEAN, "psi"),
    "raw.norm.n": ("plda.raw", "enroll.raw.mean.ark", "enroll.raw.num_utts", "psi"),
    "adapt.norm.n": ("plda.adapt", *MEAN, "psi"),
    "smooth.norm.n": ("plda.smooth0.1", *MEAN, "psi"),
}


@pytest.mark.parametrize("name", SCORED)
def test_kaldi_scores(golden, name):
    model, enroll_ark, counts_file, length_norm = SCORED[name]
    plda, enroll = read_plda(golden / model), read_vectors(golden / enroll_ark)
    test = read_vectors(golden / ("eval.ark" if model == "plda.raw" else "eval.lda.ln.ark"))
    counts = None
    if counts_file:
        keys, numbers = read_columns(golden / counts_file)
        assert keys == enroll.ids
        counts = np.array(numbers, dtype=int)
    u = project(plda, enroll.matrix, enroll.ids, num_utts=counts, length_norm=length_norm)
    v = project(plda, test.matrix, test.ids, length_norm=length_norm)
    enroll_ids, test_ids, score = read_columns(golden / f"scores.{name}")
    rows = enroll.rows(enroll_ids), test.rows(test_ids)
    found = PairScorer(plda, u, v, num_utts=counts).score(*rows)
    np.testing.assert_allclose(found, np.array(score, dtype=float), atol=1e-5, rtol=0)


def test_kaldi_dense(golden):
    vectors = read_vectors(golden / "eval.lda.ln.ark")
    ids = (golden / "dense.reco2utt").read_text().split()[1:]
    lines = (golden / "scores.dense.txt").read_text().splitlines()[1:]
    expected = np.array([line.replace("]", "").split() for line in lines if line], dtype=float)
    rows = vectors.matrix[vectors.rows(ids)]
    found = score_conversation(read_plda(golden / "plda"), rows, ids, target_energy=0.9)
    np.testing.assert_allclose(found, expected, atol=1e-5, rtol=0)
    whole = score_conversation(read_plda(golden / "plda"), rows, ids, target_energy=1.0)
    assert whole.shape == expected.shape
    with pytest.raises(ShapeError, match="target energy"):
        score_conversation(read_plda(golden / "plda"), rows, ids, target_energy=0)


def test_text_mean_vector_of_kaldi(golden):
    assert read_text_matrix(golden / "mean.vec").shape == (1, 32)
