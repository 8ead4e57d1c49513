"""`svtool calibrate train|apply|threshold` and `svtool decide`."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from sv_cli.cli import app
from sv_cli.tables.embeddings import EmbeddingTable, ModelInfo, write_embeddings
from sv_cli.tables.lineage import record_path


def run(*arguments, stdin=None):
    return CliRunner().invoke(app, [*map(str, arguments)], input=stdin)


@pytest.fixture
def folder(tmp_path):
    generator = np.random.default_rng(1)
    target = generator.random(400) < 0.4
    scores = 0.3 + 0.1 * generator.standard_normal(400) + 0.2 * target
    keys = [f"e{index % 20} t{index // 20}" for index in range(400)]
    labels = np.where(target, "target", "nontarget")
    for name, values in (("trials", labels), ("scores", [f"{score:.9g}" for score in scores])):
        rows = zip(keys, values, strict=True)
        (tmp_path / name).write_text("".join(f"{key} {value}\n" for key, value in rows))
    for name, model_hash in (("emb", "a" * 64), ("other", "b" * 64)):
        info = ModelInfo(model_hash, 2, 16000, "wespeaker", "ecapa")
        table = EmbeddingTable(["u"], np.ones((1, 2), np.float32), info)
        write_embeddings(str(tmp_path / name), table)
    return tmp_path


def _actual_costs(folder, scores):
    result = run("eval", folder / "trials", scores, "--json")
    return json.loads(result.stdout)["systems"][0]


@pytest.mark.parametrize("method", ["logistic", "pav"])
def test_calibration_lowers_cllr_and_keeps_eer(folder, method):
    model = folder / "cal.json"
    made = run(
        "calibrate", "train", folder / "trials", folder / "scores", model, "--method", method
    )
    assert made.exit_code == 0
    assert made.stderr.splitlines()[-1].endswith("fitted on 400 trials, skipped 0")
    done = run("calibrate", "apply", model, folder / "scores", folder / "llr")
    assert done.exit_code == 0
    before = _actual_costs(folder, folder / "scores")
    after = _actual_costs(folder, folder / "llr")
    assert after["cllr"] < before["cllr"]
    assert after["cllr"] == pytest.approx(json.loads(model.read_text())["cllr_after"], abs=1e-6)
    if method == "logistic":
        assert after["eer"] == before["eer"]


def test_pipe_and_file_are_the_same_bytes(folder):
    model = folder / "cal.json"
    run("calibrate", "train", folder / "trials", folder / "scores", model)
    run("calibrate", "apply", model, folder / "scores", folder / "llr")
    piped = run("calibrate", "apply", model, "-", stdin=(folder / "scores").read_text())
    assert piped.stdout == (folder / "llr").read_text()


def test_outputs_are_not_overwritten(folder):
    command = ("calibrate", "train", folder / "trials", folder / "scores", folder / "cal.json")
    assert run(*command).exit_code == 0
    result = run(*command)
    assert result.exit_code == 1
    assert "exists already" in result.stderr
    assert run(*command, "--force").exit_code == 0


def test_decisions_have_the_expected_error_rates(folder):
    path = folder / "threshold.json"
    made = run(
        "calibrate", "threshold", folder / "trials", folder / "scores", path, "--at", "far:0.1"
    )
    assert made.exit_code == 0
    threshold = json.loads(path.read_text())
    result = run("decide", path, folder / "scores")
    rows = [line.split() for line in result.stdout.splitlines()]
    labels = [line.split()[2] for line in (folder / "trials").read_text().splitlines()]
    accepted = np.array([row[2] == "accept" for row in rows])
    nontarget = np.array(labels) == "nontarget"
    assert np.mean(accepted[nontarget]) == pytest.approx(threshold["false_accept_rate"])
    assert np.mean(~accepted[~nontarget]) == pytest.approx(threshold["false_reject_rate"])
    assert threshold["false_accept_rate"] <= 0.1
    assert f"accepted {accepted.sum()} trials, rejected {(~accepted).sum()}" in result.stderr
    assert "expect" in result.stderr


@pytest.mark.parametrize("verb", ["calibrate", "decide"])
def test_scores_of_another_model_are_refused(folder, verb):
    path = folder / "made.json"
    train = "train" if verb == "calibrate" else "threshold"
    files = (folder / "trials", folder / "scores", path, "--embeddings", folder / "emb")
    assert run("calibrate", train, *files).exit_code == 0
    assert json.loads(path.read_text())["lineage"]["model"]["model_hash"] == "a" * 64
    use = ("calibrate", "apply") if verb == "calibrate" else ("decide",)
    command = (*use, path, folder / "scores", "--embeddings")
    assert run(*command, folder / "emb").exit_code == 0
    result = run(*command, folder / "other")
    assert result.exit_code == 1
    assert "was trained on scores of model ecapa aaaaaaaaaaaa" in result.stderr
    for name in ("ark", "scp"):
        record_path(folder / "other" / f"xvector.{name}").unlink()
    assert "is unknown" in run(*command, folder / "other").stderr


@pytest.mark.parametrize("at", ["far", "nonsense", "far:2"])
def test_wrong_rules_are_usage_errors(folder, at):
    files = (folder / "trials", folder / "scores", folder / "t.json")
    result = run("calibrate", "threshold", *files, "--at", at)
    assert result.exit_code == 2
    assert not (folder / "t.json").exists()


def test_a_model_of_another_kind_is_refused(folder):
    run("calibrate", "train", folder / "trials", folder / "scores", folder / "cal.json")
    result = run("decide", folder / "cal.json", folder / "scores")
    assert result.exit_code == 1
    assert "is no threshold model but a calibration model" in result.stderr


@pytest.mark.parametrize("prior", ["0", "1", "nan"])
@pytest.mark.parametrize("method", ["logistic", "pav"])
def test_a_prior_of_one_class_is_refused_by_the_option(folder, prior, method):
    files = (folder / "trials", folder / "scores", folder / "c.json")
    refused = run("calibrate", "train", *files, "--method", method, "--p-target", prior)
    assert refused.exit_code == 2
    assert "--p-target" in refused.stderr
    assert not (folder / "c.json").exists()


@pytest.fixture
def numbered(folder):
    """The same world with numbers for ids, and integer scores in the order of VoxSRC."""
    for name in ("trials", "scores"):
        text = (folder / name).read_text()
        lines = [line.split() for line in text.splitlines()]
        rows = [(one.strip("e"), two.strip("t"), last) for one, two, last in lines]
        if name == "scores":
            ordered = [f"{1000 + round(100 * float(last))} {one} {two}" for one, two, last in rows]
        else:
            ordered = [" ".join(row) for row in rows]
        (folder / name).write_text("\n".join(ordered) + "\n")
    return folder


@pytest.mark.parametrize(
    "command",
    [
        "eval", "asnorm", "decide", "calibrate train", "calibrate apply", "calibrate threshold",
        "fuse train", "fuse apply", "fuse mean", "qmf train", "qmf apply",
    ],
)  # fmt: skip
def test_every_command_that_reads_scores_takes_columns(command):
    assert "--columns" in run(*command.split(), "--help").stdout


def test_numeric_ids_need_named_columns_where_no_trials_settle_them(numbered):
    trials, scores = numbered / "trials", numbered / "scores"
    made = numbered / "cal.json"
    assert run("calibrate", "train", trials, scores, made).exit_code == 0
    assert run("calibrate", "threshold", trials, scores, numbered / "t.json").exit_code == 0
    assert run("eval", trials, scores).exit_code == 0
    columns = ("--columns", "score,enroll,test")
    for command in (
        ("calibrate", "apply", made, scores),
        ("decide", numbered / "t.json", scores),
        ("fuse", "mean", scores, scores, "-"),
    ):
        refused = run(*command)
        assert refused.exit_code == 1
        assert "--columns enroll,test,score" in refused.stderr
        done = run(*command, *columns)
        assert done.exit_code == 0, done.stderr
        assert done.stdout.splitlines()[1].split()[:2] == scores.read_text().split()[4:6]


def test_labels_that_contradict_the_trials_are_refused(folder):
    rows = [line.split() for line in (folder / "trials").read_text().splitlines()]
    scores = [line.split()[2] for line in (folder / "scores").read_text().splitlines()]
    wrong = {"target": "nontarget", "nontarget": "target"}
    lines = [f"{a} {b} {score} {c}" for (a, b, c), score in zip(rows, scores, strict=True)]
    first = lines[0].rpartition(" ")
    lines[0] = f"{first[0]} {wrong[first[2]]}"
    for name, content in (("ordered", lines), ("turned", lines[::-1])):
        (folder / name).write_text("\n".join(content) + "\n")
        for command in (("eval",), ("calibrate", "train")):
            out = () if command == ("eval",) else (folder / "c.json",)
            refused = run(*command, folder / "trials", folder / name, *out)
            assert refused.exit_code == 1
            assert "1 of 400 labels differ from those of the trials: `e0 t0`" in refused.stderr
