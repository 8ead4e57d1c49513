"""`svtool identify`: all enrolled speakers at once, and what it refuses."""

import json

import numpy as np
import pytest
from scoring_world import World, message, read_score_file, run, unit


@pytest.fixture
def world(tmp_path):
    """The scoring world, with the last utterance of each speaker as a test of its own."""
    made = World(tmp_path)
    made.tests = [utt for utt in made.utts if utt.endswith("-4")]
    made.write("test", made.tests, made.matrix[4::5])
    made.enrolled = {spk: utts[:4] for spk, utts in made.spk2utt.items()}
    lines = [f"{spk} {' '.join(utts)}" for spk, utts in made.enrolled.items()]
    made.text("enroll.spk2utt", lines)
    made.text("enroll.utt2spk", [f"{u} {s}" for s, utts in made.enrolled.items() for u in utts])
    made.text("utt2spk", [f"{utt} {utt[:3]}" for utt in made.utts])
    return made


def _rows(text):
    return [(t, int(rank), spk, float(score)) for t, rank, spk, score in map(str.split, text)]


def _brute_force(world, top_k, submean=0.0):
    matrix = world.matrix.astype(np.float64) - submean
    rows = {utt: matrix[row] for utt, row in world.index.items()}
    models = {spk: unit(np.mean([rows[u] for u in utts], axis=0)[None])[0]
              for spk, utts in world.enrolled.items()}  # fmt: skip
    found = []
    for utt in world.tests:
        vector = rows[utt] / np.linalg.norm(rows[utt])
        scores = sorted((-float(models[spk] @ vector), spk) for spk in models)
        found += [(utt, place + 1, spk, -s) for place, (s, spk) in enumerate(scores[:top_k])]
    return found


@pytest.mark.parametrize("form", ["spk2utt", "utt2spk", "means"])
@pytest.mark.parametrize("top_k", [1, 3, 50])
def test_speakers_are_those_of_brute_force(world, form, top_k):
    enrolled, options = world / "emb", [f"--enroll-{form}", world / f"enroll.{form}"]
    if form == "means":
        run("mean", world / "enroll.spk2utt", world / "emb", world / "means")
        enrolled, options = world / "means", []
    result = run("identify", enrolled, world / "test", *options, "--top-k", top_k)
    assert result.exit_code == 0, result.stderr
    expected = _brute_force(world, top_k)
    found = _rows(result.stdout.splitlines())
    assert [row[:3] for row in found] == [row[:3] for row in expected]
    np.testing.assert_allclose([row[3] for row in found], [row[3] for row in expected], atol=2e-6)
    assert "identified 12 tests among 12 speakers" in result.stderr.splitlines()[-1]


def test_scores_are_those_of_score(world):
    trials = [f"{spk} {utt}" for spk in world.speakers for utt in world.tests]
    world.text("pairs", trials)
    both = [world / "emb", world / "test"]
    models = ["--enroll-spk2utt", world / "enroll.spk2utt", "--submean", world / "cohort"]
    run("score", world / "pairs", *both, world / "scores", *models)
    result = run("identify", *both, *models, "--top-k", 12)
    found = {(spk, utt): score for utt, _, spk, score in _rows(result.stdout.splitlines())}
    assert found == read_score_file(world / "scores")  # every digit


def test_a_pipe_gives_the_same_bytes(world):
    run("identify", world / "emb", world / "test", world / "out", "--top-k", 4)
    content = (world / "test/xvector.ark").read_bytes()
    piped = run("identify", world / "emb", "ark:-", "--top-k", 4, stdin=content)
    assert piped.stdout_bytes == (world / "out").read_bytes()


def test_equal_speakers_stand_in_the_order_of_the_enrolment(world):
    generator = np.random.default_rng(0)
    ids = [f"m{row:04d}" for row in range(3000)]
    matrix = np.tile(generator.standard_normal((30, 6)).astype(np.float32), (100, 1))
    world.write("many", ids, matrix)
    result = run("identify", world / "many", world / "test", "--top-k", 7)
    rows = _rows(result.stdout.splitlines())
    for place in range(0, len(rows), 7):
        best = rows[place : place + 7]
        assert len({score for *_, score in best}) == 1
        first = ids.index(best[0][2])
        assert [spk for _, _, spk, _ in best] == ids[first % 30 : 3000 : 30][:7]


def test_below_the_threshold_nobody_is_known(world):
    command = ["identify", world / "emb", world / "test", "--enroll-spk2utt",
               world / "enroll.spk2utt", "--top-k", 3]  # fmt: skip
    every = _rows(run(*command).stdout.splitlines())
    scores = sorted(score for _, rank, _, score in every if rank == 1)
    threshold = scores[3]  # at the threshold a speaker is known
    result = run(*command, "--threshold", repr(threshold))
    assert result.exit_code == 0
    assert "3 unknown" in result.stderr.splitlines()[-1]
    expected = [
        (utt, rank, spk if score >= threshold else "unknown", score)
        for utt, rank, spk, score in every
        if score >= threshold or rank == 1
    ]
    assert _rows(result.stdout.splitlines()) == expected


def test_rates_are_told_when_the_speakers_are_known(world):
    some = ["--enroll-spk2utt", world / "some"]
    world.text("some", (world / "enroll.spk2utt").read_text().splitlines()[:8])
    command = ["identify", world / "emb", world / "test", *some, "--utt2spk", world / "utt2spk"]
    result = run(*command, "--top-k", 2, "--threshold", "0.8")
    best = [row for row in _rows(run(*command).stdout.splitlines()) if row[1] == 1]
    enrolled = [row for row in best if row[0][:3] in world.speakers[:8]]
    right = sum(row[2] == row[0][:3] for row in enrolled)
    accepted = sum(row[2] == row[0][:3] and row[3] >= 0.8 for row in enrolled)
    false = sum(row[3] >= 0.8 for row in best if row not in enrolled)
    assert f"identification rate {100 * right / 8:.2f} % ({right} of 8)" in result.stderr
    assert f"identified {100 * accepted / 8:.2f} % ({accepted} of 8)" in result.stderr
    assert f"others accepted {100 * false / 4:.2f} % ({false} of 4)" in result.stderr
    assert "4 tests are of speakers who are not enrolled" in run(*command).stderr
    world.text("short", ["s00-4 s00"])
    result = run(*command[:-1], world / "short")
    assert result.exit_code == 1
    assert "11 tests have no speaker in `--utt2spk`: `s01-4`" in message(result)


def test_enrolled_utterances_have_the_speakers_of_the_table(world):
    world.write("gallery", [f"{spk}-0" for spk in world.speakers], world.matrix[::5])
    speakers = ["--utt2spk", world / "utt2spk"]
    result = run("identify", world / "gallery", world / "test", *speakers)
    found = _rows(result.stdout.splitlines())
    right = sum(utt[:3] == spk[:3] for utt, _, spk, _ in found)
    assert f"({right} of 12)" in result.stderr
    result = run("identify", world / "emb", world / "test", *speakers)
    assert "12 of 12 tests are enrolled themselves" in result.stderr
    models = ["--enroll-spk2utt", world / "enroll.spk2utt"]
    result = run("identify", world / "emb", world / "emb", world / "out", *models)
    assert "48 of 60 tests are enrolled themselves" in result.stderr


def test_a_threshold_file_is_that_of_the_model_and_of_cosines(world):
    trials, scores = world / "trials", world / "scores"
    run("score", trials, world / "emb", world / "emb", scores)
    assert run("calibrate", "threshold", trials, scores, world / "t.json").exit_code == 0
    value = json.loads((world / "t.json").read_text())["threshold"]
    command = ["identify", world / "emb", world / "test", "--threshold"]
    by_file = run(*command, world / "t.json")
    assert by_file.exit_code == 0
    assert by_file.stdout == run(*command, repr(value)).stdout

    for name in ("emb", "test"):
        ids = world.utts if name == "emb" else world.tests
        world.write(name, ids, world.matrix[[world.index[utt] for utt in ids]], model="another")
    result = run(*command, world / "t.json")
    assert result.exit_code == 1
    assert "was trained on scores of model ecapa m, " in message(result)
    assert result.stdout == ""

    world.write("emb", world.utts, world.matrix)
    norm = [scores, world / "emb", world / "emb", world / "cohort", world / "normed"]
    assert run("asnorm", *norm, "--top-n", 5).exit_code == 0
    threshold = [trials, world / "normed", world / "n.json"]
    assert run("calibrate", "threshold", *threshold).exit_code == 0
    result = run("identify", world / "emb", world / "emb", "--threshold", world / "n.json")
    assert result.exit_code == 1
    assert "`score | asnorm` and `score`" in message(result)


def test_speakers_without_embeddings_are_named_or_counted(world):
    world.text("more", ["ghost nobody-1 nobody-2", "s00 s00-0 nobody-3"])
    command = ["identify", world / "emb", world / "test", world / "out"]
    models = ["--enroll-spk2utt", world / "more"]
    result = run(*command, *models)
    assert result.exit_code == 1
    assert "3 utterances of the speakers have no embedding: `nobody-1`" in message(result)
    assert not (world / "out").exists()
    result = run(*command, *models, "--allow-missing")
    assert result.exit_code == 3
    assert result.stderr.splitlines()[-1].endswith("among 1 speakers, skipped 1")
    result = run(*command, *models, "--allow-missing", "--max-skipped", 1, "--force")
    assert result.exit_code == 0


@pytest.mark.parametrize(("value", "words"), [(0.0, "zero vectors"), (np.nan, "NaN")])
@pytest.mark.parametrize("side", ["emb", "test"])
def test_vectors_without_direction_are_refused(world, value, words, side):
    ids = world.utts if side == "emb" else world.tests
    matrix = world.matrix[[world.index[utt] for utt in ids]]
    matrix[2] = value
    world.write(side, ids, matrix)
    result = run("identify", world / "emb", world / "test", world / "out")
    assert result.exit_code == 1
    assert words in message(result)
    assert f"`{ids[2]}`" in result.stderr
    assert not (world / "out").exists()


def test_tables_that_do_not_go_together_are_refused(world):
    world.write("other", world.tests, world.matrix[4::5], model="another")
    result = run("identify", world / "emb", world / "other", world / "out")
    assert result.exit_code == 1
    assert "different models" in message(result)
    world.write("narrow", world.tests, world.matrix[4::5, :4].copy())
    result = run("identify", world / "emb", world / "narrow", world / "out")
    assert "6 values" in message(result)
    world.write("bad", ["unknown", "s1"], world.matrix[:2])
    result = run("identify", world / "bad", world / "test", "--threshold", "0.1")
    assert "an enrolled speaker is called `unknown`" in message(result)


@pytest.mark.parametrize(
    ("options", "status", "words"),
    [
        (["--threshold", "nan"], 2, "is no number"),
        (["--threshold", "gone.json"], 1, "cannot read `gone.json`"),
        (["--top-k", "0"], 2, "--top-k"),
        (["--enroll-spk2utt", "a", "--enroll-utt2spk", "b"], 2, "say the same"),
    ],
)
def test_wrong_usage(world, options, status, words):
    result = run("identify", world / "emb", world / "test", world / "out", *options)
    assert result.exit_code == status
    assert words in message(result)


def test_a_data_directory_needs_a_model(world):
    (world / "data").mkdir()
    (world / "data/wav.scp").write_text("a a.wav\n")
    result = run("identify", world / "emb", world / "data", world / "out")
    assert result.exit_code == 2
    assert "is a data directory, no embeddings" in message(result)
    assert run("identify", world / "emb").exit_code == 2
    assert "4 tables, where" in message(run("identify", *[world / "emb"] * 4))


def test_the_first_name_may_be_a_model(world):
    """A folder with a model file: what is embedded already is taken as it is."""
    (world / "exp").mkdir()
    (world / "exp/final.pt").touch()
    files = [world / "emb", world / "test"]
    want = run("identify", *files).stdout
    for model in (world / "exp", f"{world / 'exp'}:best", world / "exp/final.pt", "hub:name"):
        assert run("identify", model, *files).stdout == want
    assert run("identify", world / "exp", *files, world / "out").exit_code == 0
    assert (world / "out").read_text() == want


def test_an_output_is_not_overwritten(world):
    world.text("out", ["precious"])
    command = ["identify", world / "emb", world / "test", world / "out"]
    assert "exists already" in message(run(*command))
    assert (world / "out").read_text() == "precious\n"
    assert run(*command, "--force").exit_code == 0
