"""`svtool score`: cosine of trials, models and rectangles, and what it refuses."""

import numpy as np
import pytest
from scoring_world import World, largest_difference, message, read_score_file, run, unit

EXACT = {"rel": 0, "abs": 2e-6}


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


def test_scores_in_the_order_of_the_trials(world):
    result = run("score", world / "trials", world / "emb", world / "emb", world / "out")
    assert result.exit_code == 0
    scores = read_score_file(world / "out")
    assert list(scores) == world.trials
    assert scores == pytest.approx(world.cosine(), **EXACT)
    wanted = f"wrote {len(world.trials)} scores, skipped 0"
    assert result.stderr.splitlines()[-1].endswith(wanted)


def test_pipes_give_the_same_bytes(world):
    run("score", world / "trials", world / "emb", world / "emb", world / "out")
    content = (world / "emb/xvector.ark").read_bytes()
    piped = run("score", world / "trials", "ark:-", "ark:-", stdin=content)
    assert piped.stdout_bytes == (world / "out").read_bytes()
    lists = (world / "trials").read_bytes()
    table = f"ark:cat {world / 'emb/xvector.ark'} |"
    piped = run("score", "-", world / "emb", table, stdin=lists)
    assert piped.stdout_bytes == (world / "out").read_bytes()


@pytest.mark.parametrize("form", ["1|0 first", "1|0 last", "plain", "shuffled"])
def test_trials_of_any_form_are_joined_by_key(world, form):
    lines = (world / "trials").read_text().splitlines()
    rows = [line.replace("nontarget", "0").replace("target", "1").split() for line in lines]
    rows = {
        "1|0 first": [[row[2], row[0], row[1]] for row in rows],
        "1|0 last": rows,
        "plain": [row[:2] for row in rows],
        "shuffled": [rows[place] for place in np.random.default_rng(0).permutation(len(rows))],
    }[form]
    world.text("form", [" ".join(row) for row in rows])
    assert run("score", world / "form", world / "emb", world / "emb", world / "out").exit_code == 0
    assert read_score_file(world / "out") == pytest.approx(world.cosine(), **EXACT)


def test_submean_by_embeddings_and_by_a_vector_file(world):
    expected = world.cosine(world.matrix.mean(axis=0, dtype=np.float64))
    both = [world / "emb", world / "emb"]
    run("score", world / "trials", *both, world / "one", "--submean", world / "emb")
    assert read_score_file(world / "one") == pytest.approx(expected, **EXACT)
    means = [world / "m", "--global-mean", world / "mean.vec"]
    assert run("mean", world / "spk2utt", world / "emb", *means).exit_code == 0
    run("score", world / "trials", *both, world / "two", "--submean", world / "mean.vec")
    assert read_score_file(world / "two") == pytest.approx(expected, **EXACT)


@pytest.mark.parametrize("option", [None, "--length-norm", "--score-mean"])
def test_models_of_several_utterances(world, option):
    world.text("models", ["m1 s00-0 s00-1 s00-2", "m2 s01-3"])
    world.text("pairs", [f"{m} {utt}" for m in ("m1", "m2") for utt in world.utts[-20:]])
    options = ["--enroll-spk2utt", world / "models", *([option] if option else [])]
    files = [world / "pairs", world / "emb", world / "emb", world / "out"]
    assert run("score", *files, *options).exit_code == 0
    matrix = world.matrix.astype(np.float64)
    rows = unit(matrix)
    model = rows[:3] if option else matrix[:3]
    model = model.mean(axis=0) if option == "--score-mean" else unit(model.mean(0)[None])[0]
    scores = read_score_file(world / "out")
    for utt in world.utts[-20:]:
        assert scores["m1", utt] == pytest.approx(model @ rows[world.index[utt]], abs=2e-6)
        assert scores["m2", utt] == pytest.approx(rows[8] @ rows[world.index[utt]], abs=2e-6)


def test_missing_keys_are_named_or_counted(world):
    lines = (world / "trials").read_text().splitlines()
    world.text("more", [lines[0], "nobody s00-1 target", "s00-0 none target", *lines[1:]])
    files = [world / "more", world / "emb", world / "emb", world / "out"]
    result = run("score", *files)
    assert result.exit_code == 1
    assert "1 enrolment keys of the trials have no embedding: `nobody`" in message(result)
    assert not (world / "out").exists()
    result = run("score", *files, "--allow-missing")
    assert result.exit_code == 3
    assert result.stderr.splitlines()[-1].endswith("skipped 2")
    assert read_score_file(world / "out") == pytest.approx(world.cosine(), **EXACT)
    assert run("score", *files, "--allow-missing", "--max-skipped", 2, "--force").exit_code == 0


@pytest.mark.parametrize(("value", "words"), [(0.0, "zero vectors"), (np.nan, "NaN")])
def test_vectors_without_direction(world, value, words):
    world.matrix[[3, 5]] = value
    world.write("emb", world.utts, world.matrix)
    result = run("score", world / "trials", world / "emb", world / "emb", world / "out")
    assert result.exit_code == 1
    assert words in message(result)
    assert "`s00-3`, `s01-0`" in result.stderr


def test_two_models_are_refused(world):
    world.write("other", world.utts, world.matrix, model="another")
    result = run("score", world / "trials", world / "emb", world / "other", world / "out")
    assert result.exit_code == 1
    assert "different models" in message(result)
    submean = ["--submean", world / "other"]
    result = run("score", world / "trials", world / "emb", world / "emb", world / "out", *submean)
    assert result.exit_code == 1
    world.write("narrow", world.utts, world.matrix[:, :4].copy())
    result = run("score", world / "trials", world / "emb", world / "narrow", world / "out")
    assert result.exit_code == 1
    assert "6 values" in message(result)


def test_an_output_is_not_overwritten(world):
    world.text("out", ["precious"])
    files = [world / "trials", world / "emb", world / "emb", world / "out"]
    assert "exists already" in message(run("score", *files))
    assert (world / "out").read_text() == "precious\n"
    assert run("score", *files, "--force").exit_code == 0


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["trials", "emb"], "missing argument `TEST`"),
        (["trials", "emb", "emb", "out", "--top-k", "3"], "belong to `--dense`"),
        (["trials", "emb", "emb", "out", "--dense"], "takes no trials"),
        (["emb", "emb", "out.npy", "--dense", "--top-k", "3"], "is whole"),
        (["emb", "emb", "out", "--dense", "--threshold", "nan"], "is no finite number"),
        (["emb", "emb", "out", "--dense", "--threshold", "inf"], "is no finite number"),
        (["trials", "emb", "emb", "--length-norm", "--score-mean"], "give one"),
    ],
)
def test_wrong_usage(world, words, expected, monkeypatch):
    monkeypatch.chdir(world.folder)
    result = run("score", *words)
    assert result.exit_code == 2
    assert expected in message(result)


def test_the_whole_rectangle(world):
    rows = unit(world.matrix.astype(np.float64))
    cosine = rows @ rows.T
    both = [world / "emb", world / "emb"]
    assert run("score", "--dense", *both, world / "all").exit_code == 0
    scores = read_score_file(world / "all")
    assert len(scores) == 3600
    assert scores["s01-2", "s03-4"] == pytest.approx(cosine[7, 19], abs=2e-6)
    assert run("score", "--dense", *both, world / "all.npy").exit_code == 0
    array = np.load(world / "all.npy", mmap_mode="r")
    np.testing.assert_allclose(array, cosine, atol=2e-6)
    assert (world / "all.npy.enroll").read_text().startswith("s00-0 0\ns00-1 1\n")


def test_the_best_and_those_above_a_threshold(world):
    both = [world / "emb", world / "emb"]
    result = run("score", "--dense", *both, "--top-k", 2)
    rows = [line.split() for line in result.stdout.splitlines()]
    assert [row[1] for row in rows[:4]] == ["s00-0", "s00-0", "s00-1", "s00-1"]
    assert all(row[0] == row[1] for row in rows[::2])  # everyone is like itself
    result = run("score", "--dense", *both, "--threshold", 0.9)
    kept = [line.split() for line in result.stdout.splitlines()]
    cosine = unit(world.matrix) @ unit(world.matrix).T
    assert len(kept) == np.count_nonzero(cosine >= 0.9)
    assert min(float(row[2]) for row in kept) >= 0.9


def test_wespeaker(shared, tmp_path):
    golden = shared / "golden/backend"
    for part in ("dev", "eval"):
        table = f"ark:{golden / part}.ark"
        mean = ["--submean", f"ark:{golden / 'train.ark'}"]
        run("score", golden / f"trials.{part}", table, table, tmp_path / part, *mean)
        reference = golden / f"{part}.cosine-submean.score"
        assert largest_difference(tmp_path / part, reference) < 2e-5


def test_long_lists_are_worked_off_in_chunks(world, monkeypatch):
    from sv_cli.tables import text
    from sv_cli.tables.pairs import stream as pair_stream

    files = [world / "trials", world / "emb", world / "emb"]
    run("score", *files, world / "whole")
    monkeypatch.setattr(text, "_BLOCK", 64)
    monkeypatch.setattr(pair_stream, "CHUNK_ROWS", 10)
    assert run("score", *files, world / "parts").exit_code == 0
    assert (world / "parts").read_bytes() == (world / "whole").read_bytes()
    lines = (world / "trials").read_text().splitlines()
    world.text("late", [*lines, "nobody s00-1 target"])
    result = run("score", world / "late", *files[1:], world / "late.out")
    assert "`nobody`" in message(result)
    assert not (world / "late.out").exists()


def test_repeated_pairs_are_named(world):
    lines = (world / "trials").read_text().splitlines()
    world.text("twice", [*lines, lines[2]])
    result = run("score", world / "twice", world / "emb", world / "emb", world / "out")
    assert result.exit_code == 1
    assert f"(lines 3 and {len(lines) + 1})" in message(result)
    assert not (world / "out").exists()


def test_shards_of_a_rectangle_are_the_whole(world, monkeypatch):
    both = [world / "emb", world / "emb"]
    monkeypatch.setattr("sv_cli.backend.cosine.RECTANGLE_CELLS", 500)
    for options in ([], ["--top-k", 2], ["--threshold", 0.9]):
        assert run("score", "--dense", *both, world / "all", *options, "--force").exit_code == 0
        for shard in (1, 2, 3):
            share = ["--num-shards", 3, "--shard", shard, "--force"]
            assert run("score", "--dense", *both, world / "all", *options, *share).exit_code == 0
        parts = [(world / f"all.{shard}").read_bytes() for shard in (1, 2, 3)]
        assert all(parts)
        assert b"".join(parts) == (world / "all").read_bytes()


def test_each_process_of_torchrun_writes_its_rows_of_the_array(world, monkeypatch):
    both = [world / "emb", world / "emb"]
    assert run("score", "--dense", *both, world / "all.npy").exit_code == 0
    monkeypatch.setenv("WORLD_SIZE", "4")
    for rank in range(4):
        monkeypatch.setenv("RANK", str(rank))
        assert run("score", "--dense", *both, world / "all.npy").exit_code == 0
    parts = [np.load(world / f"all.{shard}.npy") for shard in range(1, 5)]
    np.testing.assert_allclose(np.concatenate(parts), np.load(world / "all.npy"), atol=1e-6)
    assert (world / "all.2.npy.enroll").read_text().split()[0] == world.utts[15]
    shared = run("score", "--dense", *both, world / "x", "--num-shards", 2, "--shard", 1)
    assert shared.exit_code == 2
    assert "shares the work already" in message(shared)


def test_shards_that_cannot_be(world):
    both = [world / "emb", world / "emb"]
    result = run("score", "--dense", *both, world / "all", "--num-shards", 2, "--shard", 3)
    assert result.exit_code == 2
    assert "shards count from 1 to 2" in message(result)
    result = run("score", world / "trials", *both, world / "out", "--num-shards", 2)
    assert result.exit_code == 2
    assert "only the work of `--dense` is shared" in message(result)
