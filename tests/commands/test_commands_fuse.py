"""`svtool fuse train|apply|mean`."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from sv_cli.cli import app


def run(*arguments, stdin=None):
    return CliRunner().invoke(app, [*map(str, arguments)], input=stdin)


@pytest.fixture
def folder(tmp_path):
    """All pairs of 10 speakers x 3 utterances; two systems with errors of their own."""
    generator = np.random.default_rng(2)
    utts = [f"s{spk}-{utt}" for spk in range(10) for utt in range(3)]
    keys = [f"{one} {two}" for i, one in enumerate(utts) for two in utts[i + 1 :]]
    target = np.array([key[:2] == key.split()[1][:2] for key in keys])
    columns = {
        "trials": np.where(target, "target", "nontarget"),
        "one": 1.5 * target + generator.standard_normal(len(keys)),
        "two": 30 * target + 20 * generator.standard_normal(len(keys)),
    }
    for name, values in columns.items():
        rows = zip(keys, values, strict=True)
        (tmp_path / name).write_text("".join(f"{key} {value}\n" for key, value in rows))
    return tmp_path


def test_fused_scores_are_better_than_each(folder):
    model = folder / "fusion.json"
    sources = (folder / "one", folder / "two")
    held_out = ("--cv-folds", "5", "--cv-scores", folder / "held-out")
    made = run("fuse", "train", folder / "trials", *sources, model, *held_out)
    assert made.exit_code == 0
    assert "held-out speakers" in made.stderr
    record = json.loads(model.read_text())
    assert record["systems"] == ["one", "two"]
    assert record["held_out_cllr"] > record["cllr"]
    result = run("eval", folder / "trials", folder / "held-out", "--json")
    (system,) = json.loads(result.stdout)["systems"]
    assert system["cllr"] == pytest.approx(record["held_out_cllr"], abs=1e-6)
    assert run("fuse", "apply", model, *sources, folder / "fused").exit_code == 0
    result = run("eval", folder / "trials", *sources, folder / "fused", "--json")
    one, two, fused = json.loads(result.stdout)["systems"]
    assert fused["min_cllr"] < min(one["min_cllr"], two["min_cllr"])
    assert fused["cllr"] == pytest.approx(record["cllr"], abs=1e-6)


def test_systems_are_joined_by_key(folder):
    model = folder / "fusion.json"
    run("fuse", "train", folder / "trials", folder / "one", folder / "two", model)
    lines = (folder / "two").read_text().splitlines(keepends=True)
    (folder / "permuted").write_text("".join(reversed(lines)))
    want = run("fuse", "apply", model, folder / "one", folder / "two").stdout
    assert run("fuse", "apply", model, folder / "one", folder / "permuted").stdout == want
    (folder / "short").write_text("".join(lines[:-1]))
    result = run("fuse", "apply", model, folder / "one", folder / "short")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert "1 trials have no score: `s9-1 s9-2`" in result.stderr


def test_one_system_is_calibrated(folder):
    model = folder / "fusion.json"
    assert run("fuse", "train", folder / "trials", folder / "one", model).exit_code == 0
    result = run("fuse", "apply", model, folder / "one")
    assert result.exit_code == 0
    assert len(result.stdout.splitlines()) == len((folder / "one").read_text().splitlines())


def test_the_number_of_systems_must_be_that_of_training(folder):
    model = folder / "fusion.json"
    run("fuse", "train", folder / "trials", folder / "one", folder / "two", model)
    result = run("fuse", "apply", model, folder / "one")
    assert result.exit_code == 2
    assert "fuses 2 systems, 1 score tables were given" in result.stderr
    assert "one, two" in result.stderr


def test_outputs_are_not_overwritten(folder):
    model = folder / "fusion.json"
    train = ("fuse", "train", folder / "trials", folder / "one", folder / "two", model)
    assert run(*train).exit_code == 0
    assert run(*train).exit_code == 1
    apply = ("fuse", "apply", model, folder / "one", folder / "two", folder / "out")
    assert run(*apply).exit_code == 0
    assert run(*apply).exit_code == 1
    assert run(*apply, "--force").exit_code == 0


def numbers(text):
    return {" ".join(line.split()[:2]): float(line.split()[2]) for line in text.splitlines()}


def test_the_mean_is_that_of_each_pair(folder):
    one, two = (numbers((folder / name).read_text()) for name in ("one", "two"))
    lines = (folder / "two").read_text().splitlines(keepends=True)
    (folder / "permuted").write_text("".join(reversed(lines)))
    result = run("fuse", "mean", folder / "one", folder / "permuted", "-")
    assert numbers(result.stdout) == pytest.approx(
        {k: (one[k] + two[k]) / 2 for k in one}, abs=1e-5
    )
    weighted = run(
        "fuse", "mean", "-", folder / "two", "-", "--weights", "3,1", stdin=result.stdout
    )
    expected = {k: 0.75 * (one[k] + two[k]) / 2 + 0.25 * two[k] for k in one}
    assert numbers(weighted.stdout) == pytest.approx(expected, abs=2e-5)


@pytest.mark.parametrize("weights", ["1", "1,2,3", "1,x", "1,-1", "nan,1", "0,0", ","])
def test_weights_that_do_not_fit_are_refused(folder, weights):
    sources = (folder / "one", folder / "two")
    refused = run("fuse", "mean", *sources, folder / "mean", f"--weights={weights}")
    assert refused.exit_code == 2 and "--weights" in refused.stderr
    assert not (folder / "mean").exists()


def test_a_mean_of_one_table_is_refused(folder):
    refused = run("fuse", "mean", folder / "one", folder / "mean")
    assert refused.exit_code == 2 and "two score tables" in refused.stderr
