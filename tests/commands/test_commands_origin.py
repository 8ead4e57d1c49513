"""Which embedding model scores come from is kept beside them, and other models are refused."""

import copy
import json
import shutil

import pytest
from scoring_world import World, message, run


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """Scores of one model, and the same scores of another."""
    made = World(tmp_path_factory.mktemp("origin"))
    made.write("emb2", made.utts, made.matrix + 1, model="m2")
    made.write("cohort2", made.cohort_ids, made.cohort + 1, model="m2")
    for end in ("", "2"):
        emb = made / f"emb{end}"
        assert run("score", made / "trials", emb, emb, made / f"cos{end}").exit_code == 0
        _asnorm(made, end, made / f"norm{end}", "--stats", made / f"stats{end}")
        measures = [emb, made / f"quality{end}", "--stats", made / f"stats{end}"]
        measures += ["--allow-missing", "--max-skipped", 60]  # those of no trial
        assert run("qmf", "measure", *measures).exit_code == 0
    return made


@pytest.fixture
def world(original, tmp_path):
    """A copy to write into."""
    shutil.copytree(original.folder, tmp_path, dirs_exist_ok=True)
    made = copy.copy(original)
    made.folder = tmp_path
    return made


def _asnorm(world, end, out, *options, scores=None):
    emb = world / f"emb{end}"
    files = [scores or world / f"cos{end}", emb, emb, world / f"cohort{end}", out]
    return run("asnorm", *files, "--top-n", 5, *options)


def _origin(path):
    record = json.loads(path.with_name(f".{path.name}.origin.json").read_text())
    return record["model_hash"], record["made_by"]


def _train(world, kind, scores, model, end=""):
    trials, quality = world / "trials", world / f"quality{end}"
    command = {
        "calibrate": ["calibrate", "train", trials, scores, model],
        "threshold": ["calibrate", "threshold", trials, scores, model],
        "fuse": ["fuse", "train", trials, scores, scores, model],
        "qmf": ["qmf", "train", trials, scores, quality, model, "--features", "magnitude:min"],
    }[kind]
    return run(*command)


def _apply(world, kind, model, scores, *, end="", stdin=None):
    out = world / f"{kind}.out"
    out.unlink(missing_ok=True)
    command = {
        "calibrate": ["calibrate", "apply", model, scores, out],
        "threshold": ["decide", model, scores, out],
        "fuse": ["fuse", "apply", model, scores, world / f"norm{end}", out],
        "qmf": ["qmf", "apply", model, scores, world / f"quality{end}", out],
    }[kind]
    return run(*command, stdin=stdin)


KINDS = ["calibrate", "threshold", "fuse", "qmf"]


def test_every_table_tells_its_model_and_command(world):
    assert _origin(world / "cos") == ("m", "score")
    assert _origin(world / "norm2") == ("m2", "asnorm")
    assert _origin(world / "stats2") == ("m2", "asnorm")
    assert _origin(world / "quality") == ("m", "qmf measure")
    for kind, made_by in (("calibrate", "calibrate"), ("qmf", "qmf"), ("fuse", "fuse")):
        assert _train(world, kind, world / "norm", world / f"{kind}.json").exit_code == 0
        assert (
            json.loads((world / f"{kind}.json").read_text())["model_hash"] == "m" or kind == "fuse"
        )
        assert _apply(world, kind, world / f"{kind}.json", world / "norm").exit_code == 0
        assert _origin(world / f"{kind}.out")[1] == made_by
    assert _origin(world / "calibrate.out") == ("m", "calibrate")


@pytest.mark.parametrize("kind", KINDS)
def test_another_models_scores_are_refused(world, kind):
    model = world / f"{kind}.json"
    assert _train(world, kind, world / "norm", model).exit_code == 0
    assert _apply(world, kind, model, world / "norm").exit_code == 0
    result = _apply(world, kind, model, world / "norm2", end="2")
    assert result.exit_code == 1
    (line,) = [line for line in message(result).splitlines() if "error:" in line]
    assert "was trained on scores of model m, " in line
    assert "is of m2" in line
    assert not (world / f"{kind}.out").exists()


@pytest.mark.parametrize("kind", KINDS)
def test_scores_of_another_step_are_refused(world, kind):
    model = world / f"{kind}.json"
    assert _train(world, kind, world / "norm", model).exit_code == 0
    result = _apply(world, kind, model, world / "cos")
    assert result.exit_code == 1
    assert "was trained on scores of `asnorm`, " in message(result)
    assert "holds scores of `score`" in result.stderr


@pytest.mark.parametrize("kind", KINDS)
def test_a_pipe_tells_no_model_and_is_taken(world, kind):
    model = world / f"{kind}.json"
    assert _train(world, kind, world / "norm", model).exit_code == 0
    content = (world / "norm").read_text()
    result = _apply(world, kind, model, "-", stdin=content)
    assert result.exit_code == 0
    if kind != "qmf":  # whose quality table tells the model
        assert "`-` does not tell its model; that of" in result.stderr
    piped = (world / f"{kind}.out").read_bytes()
    _apply(world, kind, model, world / "norm")
    assert piped == (world / f"{kind}.out").read_bytes()


def test_systems_of_a_fusion_are_told_apart(world):
    model = world / "f.json"
    train = ["fuse", "train", world / "trials", world / "norm", world / "norm2", model]
    assert run(*train).exit_code == 0
    record = json.loads(model.read_text())
    assert record["model_hashes"] == ["m", "m2"]
    assert len(record["model_hash"]) == 64
    assert run("fuse", "apply", model, world / "norm", world / "norm2").exit_code == 0
    result = run("fuse", "apply", model, world / "norm2", world / "norm")
    assert result.exit_code == 1
    assert "was trained on scores of model m, " in message(result)


def test_asnorm_refuses_scores_and_statistics_of_another_model(world):
    result = _asnorm(world, "2", world / "out", scores=world / "cos")
    assert result.exit_code == 1
    assert "come from different models: m and m2" in message(result)
    result = _asnorm(world, "2", world / "out", "--use-stats", world / "stats")
    assert result.exit_code == 1
    assert "come from different models: m2 and m" in message(result)
    assert not (world / "out").exists()


def test_qualities_of_another_model_are_refused(world):
    result = run("qmf", "measure", world / "emb", world / "out", "--stats", world / "stats2")
    assert result.exit_code == 1
    assert "come from different models: m and m2" in message(result)
    assert _train(world, "qmf", world / "norm", world / "q.json", end="2").exit_code == 1


def test_embeddings_that_are_named_must_be_those_of_the_scores(world):
    files = [world / "trials", world / "norm", world / "c.json"]
    result = run("calibrate", "train", *files, "--embeddings", world / "emb2")
    assert result.exit_code == 1
    assert "come from different models: m and m2" in message(result)


def test_a_record_of_an_earlier_table_counts_for_nothing(world):
    model = world / "c.json"
    _train(world, "calibrate", world / "norm", model)
    lines = (world / "norm2").read_text().splitlines()
    world.text("norm2", [f"{line}0" for line in lines])  # written by another program
    result = _apply(world, "calibrate", model, world / "norm2")
    assert result.exit_code == 0
    assert "belongs to an earlier" in result.stderr
    (world / ".norm2.origin.json").write_text("{}")
    result = _apply(world, "calibrate", model, world / "norm2")
    assert result.exit_code == 1
    assert "is no record of a table" in message(result)


def test_records_are_not_in_the_way_of_a_pattern(world):
    (world / "scores").mkdir()
    for name in ("one", "two"):
        run("score", world / "trials", world / "emb", world / "emb", world / "scores" / name)
    assert (world / "scores/.one.origin.json").is_file()
    every = sorted(path for path in (world / "scores").glob("*") if path.name[0] != ".")
    assert run("eval", world / "trials", *every).exit_code == 0


def test_models_written_before_records_are_read(world):
    model = world / "t.json"
    _train(world, "threshold", world / "norm", model)
    record = json.loads(model.read_text())
    record = {key: value for key, value in record.items() if key not in ("made_by", "model_hash")}
    model.write_text(json.dumps(record))
    assert _apply(world, "threshold", model, world / "norm2").exit_code == 0
