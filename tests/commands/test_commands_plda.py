"""`svtool plda`: each piece and the whole chain against Kaldi, and what it refuses."""

import json

import numpy as np
import pytest
from scoring_world import World, largest_difference, message, read_score_file, run

from sv_cli.scoring.plda_file import read_plda
from sv_cli.tables.embeddings import read_embeddings
from sv_cli.tables.kaldi.arrays import read_array, read_arrays


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


@pytest.fixture
def golden(shared):
    return shared / "golden/kaldi/plda"


def ark(folder, name):
    return f"ark:{folder / name}"


def same_rows(found, reference, atol):
    turned = found * np.sign((found * reference).sum(axis=1, keepdims=True))
    np.testing.assert_allclose(turned, reference, atol=atol, rtol=0)


def test_the_whole_chain_in_one_command(golden, tmp_path):
    front = ["--center", "--lda-dim", 20, "--length-norm"]
    files = [golden / "train.spk2utt", ark(golden, "train.ark"), tmp_path / "plda"]
    assert run("plda", "train", *files, *front).exit_code == 0
    reference = read_plda(golden / "plda")
    # psi alone: the columns of the transform turn with the signs of the LDA's rows
    np.testing.assert_allclose(read_plda(tmp_path / "plda").psi, reference.psi, rtol=1e-5)
    same_rows(read_array(str(tmp_path / "plda.lda.mat")), read_array(str(golden / "lda.mat")), 1e-6)
    # scoring goes through the same front by itself
    models = ["--enroll-spk2utt", golden / "enroll.spk2utt"]
    table = ark(golden, "eval.ark")
    files = [tmp_path / "plda", table, table, golden / "trials", tmp_path / "scores"]
    result = run("plda", "score", *files, *models)
    assert result.exit_code == 0
    assert "mean, transform to 20 dimensions, length norm" in result.stderr
    assert largest_difference(tmp_path / "scores", golden / "scores.plda.norm.n") < 2e-5


def test_the_chain_in_pieces(golden, tmp_path):
    train = ark(golden, "train.ark")
    mean = ["--mean", golden / "mean.vec"]
    lda = tmp_path / "lda.mat"
    assert (
        run("plda", "lda", golden / "train.spk2utt", train, lda, "--dim", 20, *mean).exit_code == 0
    )
    reference = read_array(str(golden / "lda.mat"))
    # the mean comes from text of 7 digits
    same_rows(read_array(str(lda)), reference, 1e-6)
    out = tmp_path / "train.ark"
    files = [golden / "lda.mat", train, f"ark:{out}"]
    assert run("plda", "transform", *files, *mean, "--length-norm").exit_code == 0
    ours, theirs = read_embeddings(f"ark:{out}"), read_embeddings(ark(golden, "train.lda.ln.ark"))
    np.testing.assert_allclose(ours.matrix, theirs.matrix, atol=5e-6)
    files = [golden / "train.spk2utt", ark(golden, "train.lda.ln.ark"), tmp_path / "plda"]
    assert run("plda", "train", *files).exit_code == 0
    found, expected = read_plda(tmp_path / "plda"), read_plda(golden / "plda")
    np.testing.assert_allclose(found.psi, expected.psi, rtol=1e-7)
    same_rows(found.transform, expected.transform, 1e-7)


SCORED = {
    "plda.norm.n": ("plda", "enroll.mean.ark", ["--num-utts", "enroll.num_utts"]),
    "plda.nonorm.n": (
        "plda",
        "enroll.mean.ark",
        ["--num-utts", "enroll.num_utts", "--length-norm", "none"],
    ),
    "plda.simple.n": (
        "plda",
        "enroll.mean.ark",
        ["--num-utts", "enroll.num_utts", "--length-norm", "simple"],
    ),
    "plda.norm.1": ("plda", "enroll.mean.ark", []),
    "plda.norm.3": ("plda", "enroll3.mean.ark", ["--num-utts", "enroll3.num_utts"]),
    "raw.norm.n": ("plda.raw", "enroll.raw.mean.ark", ["--num-utts", "enroll.raw.num_utts"]),
    "smooth.norm.n": (
        "plda",
        "enroll.mean.ark",
        ["--num-utts", "enroll.num_utts", "--smoothing", "0.1"],
    ),
}


@pytest.mark.parametrize("name", SCORED)
def test_kaldi_scores(golden, tmp_path, name):
    model, enroll, options = SCORED[name]
    options = [
        golden / word if word.endswith("num_utts") and "-" not in word else word for word in options
    ]
    test = ark(golden, "eval.ark" if model == "plda.raw" else "eval.lda.ln.ark")
    files = [golden / model, ark(golden, enroll), test, golden / "trials", tmp_path / "out"]
    assert run("plda", "score", *files, *options).exit_code == 0
    assert largest_difference(tmp_path / "out", golden / f"scores.{name}") < 1e-5


def test_adaptation_and_copy(golden, tmp_path):
    files = [golden / "plda", ark(golden, "adapt.lda.ln.ark"), tmp_path / "adapted"]
    scales = ["--within-covar-scale", 0.75, "--between-covar-scale", 0.25]
    assert run("plda", "adapt", *files, *scales).exit_code == 0
    reference = read_plda(golden / "plda.adapt.sre16")
    np.testing.assert_allclose(read_plda(tmp_path / "adapted").psi, reference.psi, rtol=1e-7)
    files = [golden / "plda", tmp_path / "smooth", "--smoothing", 0.1, "--text"]
    assert run("plda", "copy", *files).exit_code == 0
    assert (tmp_path / "smooth").read_bytes().startswith(b"<Plda>")
    reference = read_plda(golden / "plda.smooth0.1")
    np.testing.assert_allclose(read_plda(tmp_path / "smooth").psi, reference.psi, rtol=1e-7)


def test_dense(golden, tmp_path):
    files = [golden / "plda", golden / "dense.reco2utt", ark(golden, "eval.lda.ln.ark")]
    out = f"ark:{tmp_path / 'dense.ark'}"
    assert run("plda", "dense", *files, out, "--target-energy", 0.9).exit_code == 0
    lines = (golden / "scores.dense.txt").read_text().splitlines()[1:]
    expected = np.array([line.replace("]", "").split() for line in lines if line], dtype=float)
    np.testing.assert_allclose(read_arrays(out)["rec1"], expected, atol=2e-5)


def test_front_travels_with_the_model(world):
    files = [world / "spk2utt", world / "emb", world / "plda"]
    front = ["--center", "--lda-dim", 4, "--length-norm", "--lda", world / "lda.mat"]
    assert run("plda", "train", *files, *front).exit_code == 0
    assert (world / "lda.mat").read_bytes() == (world / "plda.lda.mat").read_bytes()
    record = json.loads((world / "plda.json").read_text())
    assert record["lineage"]["model"]["model_hash"] == "m"
    assert run("plda", "copy", world / "plda", world / "copy").exit_code == 0
    assert run("plda", "adapt", world / "plda", world / "emb", world / "adapted").exit_code == 0
    for name in ("copy", "adapted"):
        for part in (".mean.vec", ".lda.mat"):
            found, expected = ((world / f"{n}{part}").read_bytes() for n in (name, "plda"))
            assert found == expected
    both = [world / "emb", world / "emb", world / "trials"]
    run("plda", "score", world / "plda", *both, world / "one")
    run("plda", "score", world / "copy", *both, world / "two")
    assert (world / "one").read_bytes() == (world / "two").read_bytes()
    result = run("plda", "score", world / "plda", *both, world / "none", "--no-front")
    assert "the embeddings have dimension 6, the PLDA has 4" in message(result)
    # a model trained anew without front leaves none of the old behind
    assert run("plda", "train", *files, "--force").exit_code == 0
    assert not (world / "plda.lda.mat").exists()
    assert run("plda", "score", world / "plda", *both, world / "raw").exit_code == 0


def test_models_given_as_a_table_equal_those_averaged_before(world):
    run("plda", "train", world / "spk2utt", world / "emb", world / "plda")
    world.text("models", ["m1 s00-0 s00-1 s00-2", "m2 s01-3"])
    world.text("pairs", [f"{m} {utt}" for m in ("m1", "m2") for utt in world.utts[-20:]])
    run("mean", world / "models", world / "emb", world / "means", world / "num_utts")
    options = ["--num-utts", world / "num_utts"]
    files = [world / "plda", world / "means", world / "emb", world / "pairs", world / "one"]
    assert run("plda", "score", *files, *options).exit_code == 0
    options = ["--enroll-spk2utt", world / "models"]
    files = [world / "plda", world / "emb", world / "emb", world / "pairs", world / "two"]
    assert run("plda", "score", *files, *options).exit_code == 0
    assert largest_difference(world / "two", world / "one") < 1e-6
    assert len(read_score_file(world / "two")) == 40


def test_transform_by_the_front_of_a_model(world):
    front = ["--center", "--lda-dim", 4, "--length-norm"]
    run("plda", "train", world / "spk2utt", world / "emb", world / "plda", *front)
    assert run("plda", "transform", world / "plda", world / "emb", world / "out").exit_code == 0
    table = read_embeddings(str(world / "out"))
    np.testing.assert_allclose(np.linalg.norm(table.matrix, axis=1), 2.0, atol=1e-5)
    assert (table.info.embedding_dim, table.info.model_hash) == (4, "m")


def test_whitening(world):
    files = [world / "spk2utt", world / "emb", world / "white.mat", "--whiten"]
    assert run("plda", "lda", *files).exit_code == 0
    run("plda", "transform", world / "white.mat", world / "emb", world / "out")
    table = read_embeddings(str(world / "out"))
    np.testing.assert_allclose(np.cov(table.matrix.T, bias=True), np.eye(6), atol=1e-4)
    options = ["--whiten", "--length-norm"]
    files = [world / "spk2utt", world / "emb", world / "plda"]
    assert run("plda", "train", *files, *options).exit_code == 0


def test_embeddings_of_another_model_are_refused(world):
    run("plda", "train", world / "spk2utt", world / "emb", world / "plda")
    world.write("emb", world.utts, world.matrix, model="another")
    files = [world / "plda", world / "emb", world / "emb", world / "trials", world / "out"]
    result = run("plda", "score", *files)
    assert result.exit_code == 1
    assert "come from different models: ecapa m and ecapa another" in message(result)
    assert run("plda", "score", *files, "--no-front").exit_code == 0


def test_what_is_refused(world):
    train = ["plda", "train", world / "spk2utt", world / "emb"]
    result = run(*train, world / "plda", "--lda-dim", 3, "--whiten")
    assert result.exit_code == 2
    assert "one transform" in message(result)
    assert run(*train, world / "plda", "--lda-dim", 9).exit_code == 1
    assert run(*train, world / "plda", "--total-covariance-factor", 2).exit_code == 2
    world.text("bad", ["no plda"])
    files = [world / "bad", world / "emb", world / "emb", world / "trials"]
    assert "is not a whole PLDA model" in message(run("plda", "score", *files))
    assert run(*train, world / "plda").exit_code == 0
    assert "exists already" in message(run(*train, world / "plda"))
    (world / "plda.json").write_text("{}")
    files = [world / "plda", world / "emb", world / "emb", world / "trials"]
    assert "does not describe" in message(run("plda", "score", *files))


def test_missing_keys(world):
    run("plda", "train", world / "spk2utt", world / "emb", world / "plda")
    world.text("more", ["nobody s00-1", "s00-0 s00-1"])
    files = [world / "plda", world / "emb", world / "emb", world / "more", world / "out"]
    assert "`nobody`" in message(run("plda", "score", *files))
    assert run("plda", "score", *files, "--allow-missing").exit_code == 3
    assert len(read_score_file(world / "out")) == 1
    world.text("spk2utt", ["a s00-0 s00-1 gone", "b s01-0 s01-1", "c s02-0 s02-1"])
    train = ["plda", "train", world / "spk2utt", world / "emb", world / "other"]
    assert "`gone`" in message(run(*train))
    world.text("num_utts", ["s00-0 0"])
    files = [world / "plda", world / "emb", world / "emb", world / "more"]
    result = run("plda", "score", *files, "--num-utts", world / "num_utts")
    assert "enrolment models are not in" in message(result)


def test_pipes(world):
    run("plda", "train", world / "spk2utt", world / "emb", world / "plda")
    files = [world / "plda", world / "emb", world / "emb", world / "trials", world / "out"]
    run("plda", "score", *files)
    content = (world / "emb/xvector.ark").read_bytes()
    piped = run("plda", "score", world / "plda", "ark:-", "ark:-", world / "trials", stdin=content)
    assert piped.stdout_bytes == (world / "out").read_bytes()


def test_what_cannot_be_estimated_is_refused_with_the_numbers(world):
    files = [world / "spk2utt", world / "emb", world / "plda"]
    world.text("shared", ["a s00-0 s00-1", "b s01-0 s00-1", "c s02-0 s02-1"])
    world.text("two", ["s00 s00-0 s00-1", "s01 s01-0 s01-1"])
    for spk2utt, options, problem in (
        ("shared", [], "1 utterances are listed under two speakers: `s00-1 of a and b`"),
        ("two", [], "PLDA of 6 dimensions needs at least 6 embeddings, got 4 of 2 speakers"),
        ("two", ["--lda-dim", 2], "LDA to 2 dimensions needs more than 2 speakers, got 2"),
    ):
        result = run("plda", "train", world / spk2utt, *files[1:], *options)
        assert result.exit_code == 1
        assert problem in message(result)
        assert not (world / "plda").exists()
    same = run("plda", "train", *files, "--lda-dim", 2, "--lda", world / "plda")
    assert same.exit_code == 2
    assert "are one file for two outputs" in message(same)
