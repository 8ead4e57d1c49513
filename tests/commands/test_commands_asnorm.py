"""`svtool asnorm`: every method, statistics kept and reused, cohorts that are refused."""

import numpy as np
import pytest
from scoring_world import World, largest_difference, message, read_score_file, run, unit


@pytest.fixture
def world(tmp_path):
    world = World(tmp_path)
    run("score", world / "trials", world / "emb", world / "emb", world / "scores")
    return world


def asnorm(world, *options, out="out", cohort="cohort", scores="scores", **keywords):
    files = [world / scores, world / "emb", world / "emb", world / cohort, world / out]
    return run("asnorm", *files, *options, **keywords)


def expected(world, top_n, cohort=None):
    members = unit(world.cohort if cohort is None else cohort).astype(np.float64)
    rows = unit(world.matrix.astype(np.float64))
    best = np.sort(rows @ members.T, axis=1)[:, -top_n:]
    mean, std = best.mean(axis=1), best.std(axis=1)
    scores = {}
    for pair in world.trials:
        places = [world.index[utt] for utt in pair]
        raw = rows[places[0]] @ rows[places[1]]
        scores[pair] = np.mean([(raw - mean[place]) / std[place] for place in places])
    return scores


def close(found, wanted):
    return found == pytest.approx(wanted, rel=0, abs=2e-4)


def test_asnorm_against_its_definition(world):
    assert asnorm(world, "--top-n", 4).exit_code == 0
    assert close(read_score_file(world / "out"), expected(world, 4))
    assert asnorm(world, "--method", "snorm", out="snorm").exit_code == 0
    assert close(read_score_file(world / "snorm"), expected(world, 8))


@pytest.mark.parametrize("method", ["z", "t", "zt", "tz"])
def test_the_other_methods_differ_and_keep_the_order_of_lines(world, method):
    assert asnorm(world, "--method", method).exit_code == 0
    scores = read_score_file(world / "out")
    assert list(scores) == world.trials
    assert not close(scores, expected(world, 8))


def test_selection_of_the_other_side(world):
    assert asnorm(world, "--top-n", 4, "--selection", "other").exit_code == 0
    members, rows = unit(world.cohort), unit(world.matrix)
    by_utt = (rows @ members.T).astype(np.float64)
    best = np.argsort(by_utt, axis=1)[:, -4:]
    for (a, b), score in read_score_file(world / "out").items():
        e, t = world.index[a], world.index[b]
        one, two = by_utt[e][best[t]], by_utt[t][best[e]]
        raw = float(rows[e] @ rows[t])
        parts = [(raw - side.mean()) / side.std() for side in (one, two)]
        assert score == pytest.approx(np.mean(parts), abs=1e-3)


def test_statistics_are_kept_and_reused(world):
    asnorm(world, "--top-n", 4, "--stats", world / "stats")
    lines = [line.split() for line in (world / "stats").read_text().splitlines()]
    keys = [line[0] for line in lines]
    used = {utt for pair in world.trials for utt in pair}
    assert keys == sorted(used)
    assert all(len(line) == 3 for line in lines)
    (world / "cohort/xvector.ark").unlink()  # not read when all keys are known
    result = asnorm(world, "--use-stats", world / "stats", out="again")
    assert result.exit_code == 0
    assert "no cohort is read" in result.stderr
    assert largest_difference(world / "again", world / "out") < 1e-6


def test_only_new_keys_are_computed(world):
    asnorm(world, "--top-n", 4, "--stats", world / "stats")
    lines = (world / "stats").read_text().splitlines()
    world.text("some", [*lines[:5], f"{lines[5].split()[0]} 0.5 2", "old 0.25 0.5"])
    options = ["--use-stats", world / "some", "--stats", world / "all"]
    assert asnorm(world, "--top-n", 4, *options, out="mixed").exit_code == 0
    merged = (world / "all").read_text().splitlines()
    assert merged == sorted(
        [*lines[:5], *lines[6:], f"{lines[5].split()[0]} 0.5 2", "old 0.25 0.5"]
    )


@pytest.mark.parametrize(
    ("line", "words"),
    [("s00-0 0.1 0", "no mean and deviation"), ("s00-0 0.1 x", "no mean and deviation")],
)
def test_damaged_statistics(world, line, words):
    world.text("stats", [line])
    result = asnorm(world, "--use-stats", world / "stats")
    assert result.exit_code == 1
    assert "stats:1`" in message(result)
    assert words in result.stderr


def test_a_cohort_of_utterances_becomes_speakers(world):
    means = np.stack([world.matrix[5 * row : 5 * row + 5].mean(0) for row in range(12)])
    wanted = expected(world, 6, cohort=means)
    options = ["--top-n", 6, "--spk2utt", world / "spk2utt"]
    assert asnorm(world, *options, cohort="emb").exit_code == 0
    assert close(read_score_file(world / "out"), wanted)
    world.text("utt2spk", [f"{utt} {utt[:3]}" for utt in world.utts])
    options = ["--top-n", 6, "--utt2spk", world / "utt2spk"]
    assert asnorm(world, *options, cohort="emb", out="two").exit_code == 0
    assert (world / "two").read_bytes() == (world / "out").read_bytes()


def test_cohorts_that_are_too_small(world):
    result = asnorm(world)
    assert result.exit_code == 1
    assert "top-n is 300, but must be within 2 and the 8 members" in message(result)
    world.write("one", ["c0"], world.cohort[:1])
    assert "the cohort has 1 member" in message(asnorm(world, "--method", "snorm", cohort="one"))
    world.write("same", world.cohort_ids, np.ones_like(world.cohort))
    result = asnorm(world, "--method", "snorm", cohort="same")
    assert "no deviation against the cohort" in message(result)
    assert not (world / "out").exists()


def test_what_does_not_go_together(world):
    chained = asnorm(world, "--method", "zt", "--stats", world / "stats")
    assert chained.exit_code == 2
    assert "cannot be had with `--method zt`" in message(chained)
    assert asnorm(world, "--method", "z", "--selection", "other").exit_code == 2
    assert asnorm(world, "--spk2utt", "a", "--utt2spk", "b").exit_code == 2
    world.write("cohort", world.cohort_ids, world.cohort, model="another")
    assert "different models" in message(asnorm(world, "--method", "snorm"))


@pytest.mark.parametrize("kind", ["permuted", "duplicated", "cut", "nan", "unknown"])
def test_score_files_that_are_not_as_they_should_be(world, kind):
    lines = (world / "scores").read_text().splitlines()
    changed = {
        "permuted": lines[::-1],
        "duplicated": [*lines, lines[0]],
        "cut": [*lines[:3], lines[3].rsplit(" ", 1)[0]],
        "nan": [*lines, "s00-0 s11-4 nan"],
        "unknown": [*lines, "s00-0 nobody 0.5"],
    }[kind]
    world.text("changed", changed)
    result = asnorm(world, "--top-n", 4, scores="changed")
    if kind == "permuted":
        assert result.exit_code == 0
        assert close(read_score_file(world / "out"), expected(world, 4))
        return
    assert result.exit_code == 1
    assert message(result)
    assert not (world / "out").exists()


def test_a_pipe_equals_files(world):
    asnorm(world, "--top-n", 4)
    scores = (world / "scores").read_bytes()
    files = ["-", world / "emb", world / "emb", world / "cohort"]
    piped = run("asnorm", *files, "--top-n", 4, stdin=scores)
    assert piped.stdout_bytes == (world / "out").read_bytes()


@pytest.mark.parametrize("part", ["dev", "eval"])
@pytest.mark.parametrize(("name", "options"), [("asnorm50", ["--top-n", 50]), ("snorm", [])])
def test_wespeaker(shared, tmp_path, part, name, options):
    golden = shared / "golden/backend"
    table = f"ark:{golden / part}.ark"
    files = [golden / f"{part}.cosine-submean.score", table, table, f"ark:{golden / 'cohort.ark'}"]
    method = options or ["--method", "snorm"]
    mean = ["--submean", f"ark:{golden / 'train.ark'}"]
    assert run("asnorm", *files, tmp_path / "out", *method, *mean).exit_code == 0
    assert largest_difference(tmp_path / "out", golden / f"{part}.{name}.score") < 2e-5


def test_cohort_utterances_in_the_trials_are_counted(world):
    shared = world.trials[0][0]
    world.write("own", [shared, *world.cohort_ids[1:]], world.cohort)
    for method in ("own", "other"):
        result = asnorm(world, "--top-n", 4, "--selection", method, "--force", cohort="own")
        assert result.exit_code == 0
        assert "1 of 8 cohort utterances are in the trials, too: `s00-0`" in result.stderr
        clean = asnorm(world, "--top-n", 4, "--selection", method, "--force")
        assert "in the trials, too" not in clean.stderr


def test_one_file_for_two_outputs_is_refused_before_any_work(world):
    (world.folder / "link").symlink_to("out")
    for stats in (world / "out", world / "link", f"{world.folder}/./out"):
        result = asnorm(world, "--top-n", 4, "--stats", stats)
        assert result.exit_code == 2
        assert "are one file for two outputs" in message(result)
        assert not (world / "out").exists()
