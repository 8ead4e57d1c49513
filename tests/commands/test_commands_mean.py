"""`svtool mean`: means by speaker, counts, the global mean."""

import numpy as np
import pytest
from scoring_world import World, message, run

from sv_cli.lock import lock_file, lock_folder
from sv_cli.tables.embeddings import read_embeddings
from sv_cli.tables.kaldi.arrays import read_array


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


def test_means_counts_and_global_mean(world):
    outputs = [world / "means", world / "num_utts", "--global-mean", world / "mean.vec"]
    assert run("mean", world / "spk2utt", world / "emb", *outputs).exit_code == 0
    table = read_embeddings(str(world / "means"))
    assert table.ids == world.speakers
    expected = world.matrix.reshape(12, 5, -1).mean(axis=1)
    np.testing.assert_allclose(table.matrix, expected, atol=1e-6)
    assert (world / "num_utts").read_text().splitlines()[0] == "s00 5"
    np.testing.assert_allclose(read_array(str(world / "mean.vec")), world.matrix.mean(0), atol=1e-6)
    assert table.info.model_hash == "m"


def test_length_norm_comes_first(world):
    run("mean", world / "spk2utt", world / "emb", world / "means", "--length-norm")
    rows = world.matrix / np.linalg.norm(world.matrix, axis=1, keepdims=True)
    means = read_embeddings(str(world / "means")).matrix
    np.testing.assert_allclose(means[3], rows[15:20].mean(0), atol=1e-6)


def test_missing_utterances(world):
    world.text("models", ["m1 s00-0 gone", "m2 s00-1"])
    result = run("mean", world / "models", world / "emb", world / "means")
    assert result.exit_code == 1
    assert "1 utterances of the speakers have no embedding: `gone`" in message(result)
    result = run("mean", world / "models", world / "emb", world / "means", "--allow-missing")
    assert result.exit_code == 3
    assert read_embeddings(str(world / "means")).ids == ["m1", "m2"]


@pytest.mark.parametrize(
    ("line", "words"), [("m s00-0 s00-0", "lists an utterance twice"), ("m x", "no embedding")]
)
def test_tables_that_are_refused(world, line, words):
    world.text("models", [line])
    result = run("mean", world / "models", world / "emb", world / "means")
    assert result.exit_code == 1
    assert words in message(result)


def test_an_output_is_not_overwritten(world):
    files = [world / "spk2utt", world / "emb", world / "means"]
    assert run("mean", *files).exit_code == 0
    assert "exists already" in message(run("mean", *files))
    assert run("mean", *files, "--force").exit_code == 0


def test_kaldi_means(shared, tmp_path):
    golden = shared / "golden/kaldi/plda"
    files = [golden / "enroll.spk2utt", f"ark:{golden / 'eval.lda.ln.ark'}"]
    assert run("mean", *files, f"ark:{tmp_path / 'm.ark'}", tmp_path / "num_utts").exit_code == 0
    ours = read_embeddings(f"ark:{tmp_path / 'm.ark'}")
    theirs = read_embeddings(f"ark:{golden / 'enroll.mean.ark'}")
    assert ours.ids == theirs.ids
    np.testing.assert_allclose(ours.matrix, theirs.matrix, atol=1e-6)
    counts = [line.rstrip() for line in (golden / "enroll.num_utts").read_text().splitlines()]
    assert (tmp_path / "num_utts").read_text().splitlines() == counts


def test_one_file_for_two_outputs_is_refused_before_any_work(world):
    files = [world / "spk2utt", world / "emb"]
    for outputs in (
        [world / "m", world / "n", "--global-mean", world / "n"],
        [f"ark:{world / 'm'}", world / "m"],
        [f"ark,scp:{world / 'z'},{world / 'z'}"],
    ):
        result = run("mean", *files, *outputs)
        assert result.exit_code == 2
        assert "are one file for two outputs" in message(result)
        assert not any((world / name).exists() for name in "mnz")


def test_a_mean_of_numpy_is_subtracted(world):
    run("mean", world / "spk2utt", world / "emb", world / "m", "--global-mean", world / "mean.vec")
    np.save(world / "mean_vec.npy", read_array(str(world / "mean.vec")).astype(np.float32))
    np.save(world / "matrix.npy", np.zeros((2, 6)))
    (world / "torn.npy").write_bytes((world / "mean_vec.npy").read_bytes()[:40])
    both = [world / "trials", world / "emb", world / "emb"]
    scores = []
    for mean in ("mean.vec", "mean_vec.npy"):
        out = world / f"scores.{mean}"
        assert run("score", *both, out, "--submean", world / mean).exit_code == 0
        scores.append(out.read_bytes())
        plda = [world / "spk2utt", world / "emb", world / f"plda.{mean}", "--mean", world / mean]
        assert run("plda", "train", *plda).exit_code == 0
    assert scores[0] == scores[1]
    assert (world / "plda.mean.vec").read_bytes() == (world / "plda.mean_vec.npy").read_bytes()
    for mean, problem in (
        ("matrix.npy", "has shape (2, 6), where a mean vector is wanted"),
        ("torn.npy", "as a NumPy array"),
        ("gone.npy", "as a NumPy array"),
    ):
        result = run("score", *both, world / "no", "--submean", world / mean)
        assert result.exit_code == 1
        assert problem in message(result)


def test_two_processes_do_not_write_one_directory(world):
    with lock_folder(world / "means", command="extract"):
        refused = run("mean", world / "spk2utt", world / "emb", world / "means")
    assert refused.exit_code == 1
    assert "is being written by `svtool extract`" in message(refused)
    with lock_file(world / "mean.vec", command="mean"):
        outputs = [world / "means", "--global-mean", world / "mean.vec"]
        refused = run("mean", world / "spk2utt", world / "emb", *outputs)
    assert "mean.vec` is being written by" in message(refused)
    assert run("mean", world / "spk2utt", world / "emb", world / "means").exit_code == 0
    assert not [path.name for path in (world / "means").iterdir() if "lock" in path.name]
