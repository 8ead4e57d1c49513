"""`svtool eval`: its table, its JSON, its pictures, and the score files that it refuses."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from sv_cli.cli import app

NUM_SPEAKERS, NUM_UTTS = 6, 4


def run(*arguments, stdin=None):
    return CliRunner().invoke(app, ["eval", *map(str, arguments)], input=stdin)


@pytest.fixture
def folder(tmp_path):
    """All pairs of 6 speakers x 4 utterances, scored by two systems."""
    generator = np.random.default_rng(0)
    utts = [f"s{spk}-{utt}" for spk in range(NUM_SPEAKERS) for utt in range(NUM_UTTS)]
    pairs = [(one, two) for i, one in enumerate(utts) for two in utts[i + 1 :]]
    same = [one[:2] == two[:2] for one, two in pairs]
    labels = ["target" if value else "nontarget" for value in same]
    lines = [f"{one} {two}" for one, two in pairs]
    _write(tmp_path / "trials", lines, labels)
    for name, noise in (("good", 0.5), ("poor", 2.0)):
        scores = 2.0 * np.array(same) + noise * generator.standard_normal(len(same))
        _write(tmp_path / name, lines, [f"{score:.6g}" for score in scores])
    rows = zip(pairs, same, strict=True)
    cond = ["all" if value else f"non-{one[1] in '012'}" for (one, _), value in rows]
    _write(tmp_path / "trials.cond", lines, cond)
    (tmp_path / "utt2spk").write_text("".join(f"{utt} {utt[:2]}\n" for utt in utts))
    return tmp_path


def _write(path, keys, values):
    path.write_text("".join(f"{key} {value}\n" for key, value in zip(keys, values, strict=True)))


def test_two_systems_side_by_side(folder):
    result = run(folder / "trials", folder / "good", folder / "poor")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0].split()[:3] == ["system", "target", "nontarget"]
    assert [line.split()[0] for line in lines[2:4]] == ["good", "poor"]
    assert lines[2].split()[1:3] == ["36", "240"]
    assert float(lines[2].split()[3]) < float(lines[3].split()[3])
    assert result.stderr.splitlines()[-1].endswith("scored 276 trials, skipped 0")


def test_json_holds_what_the_table_shows(folder):
    record = json.loads(run(folder / "trials", folder / "good", "--json").stdout)
    table = run(folder / "trials", folder / "good").stdout.splitlines()[2].split()
    (system,) = record["systems"]
    assert (record["num_target"], record["num_nontarget"]) == (36, 240)
    assert f"{100 * system['eer']:.3f}" == table[3]
    assert f"{system['costs'][0]['min_dcf']:.4f}" == table[4]
    assert f"{system['min_cllr']:.4f}" == table[-1]
    assert [each["at"] for each in system["thresholds"]] == ["EER", "minDCF 0.01", "minDCF 0.05"]


def test_order_of_lines_and_stdin_change_nothing(folder):
    lines = (folder / "good").read_text().splitlines(keepends=True)
    permuted = "".join(reversed(lines))
    one = json.loads(run(folder / "trials", "-", "--json", stdin=permuted).stdout)["systems"]
    other = json.loads(run(folder / "trials", folder / "good", "--json").stdout)["systems"]
    assert [{**one[0], "name": ""}] == [{**other[0], "name": ""}]


def _swap(line):
    enroll, test, score = line.split()
    return f"{test} {enroll} {score}\n"


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda lines: lines[:-7], "7 trials have no score: `s4-3 s5-3`"),
        (lambda lines: [*lines, lines[0]], "1 repeated pairs: `s0-0 s0-1` (lines 1 and 277)"),
        (lambda lines: [*lines, "x y 1\n"], "1 scores have no trial: `x y`"),
        (lambda lines: ["s0-0 s0-1 nan\n", *lines[1:]], "score `nan` is not a number"),
        (lambda lines: ["s0-0 s0-1 inf\n", *lines[1:]], "1 of 276 scores are not finite: `s0-0"),
        (lambda lines: [_swap(line) for line in lines], "276 scores have no trial: `s0-1 s0-0`"),
    ],
    ids=["truncated", "duplicated", "superfluous", "nan", "inf", "swapped sides"],
)
def test_spoilt_score_files_never_give_an_eer(folder, spoil, message):
    lines = (folder / "good").read_text().splitlines(keepends=True)
    (folder / "spoilt").write_text("".join(spoil(lines)))
    result = run(folder / "trials", folder / "spoilt")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert message in result.stderr
    assert "spoilt" in result.stderr


def test_one_class_lists_are_refused(folder):
    lines = (folder / "trials").read_text().splitlines(keepends=True)
    (folder / "targets").write_text("".join(line for line in lines if " target" in line))
    result = run(folder / "targets", folder / "targets")
    assert result.exit_code == 1
    result = run(folder / "trials", folder / "none")
    assert result.exit_code == 1


def test_missing_scores_are_counted_when_allowed(folder):
    lines = (folder / "good").read_text().splitlines(keepends=True)
    (folder / "part").write_text("".join(lines[:-7]))
    command = (folder / "trials", folder / "part", "--allow-missing")
    result = run(*command)
    assert result.exit_code == 3
    assert "scored 269 trials, skipped 7" in result.stderr
    assert run(*command, "--max-skipped", "7").exit_code == 0


def test_conditions_of_one_class_are_completed(folder):
    result = run(folder / "trials", folder / "good", "--cond", folder / "trials.cond", "--json")
    rows = json.loads(result.stdout)["systems"]
    named = {row["condition"]: row for row in rows}
    # `all` holds the targets only; completed, it is the whole list and says nothing new
    assert set(named) == {None, "non-True", "non-False"}
    assert all(named[name]["completed"] for name in ("non-True", "non-False"))
    assert named["non-True"]["num_target"] == 36
    nontargets = sum(named[name]["num_nontarget"] for name in ("non-True", "non-False"))
    assert nontargets == 240
    (folder / "short.cond").write_text("s0-0 s0-1 x\n")
    result = run(folder / "trials", folder / "good", "--cond", folder / "short.cond")
    assert result.exit_code == 1
    assert "275 trials have no condition: `s0-0 s0-2`" in result.stderr


def test_intervals_by_speaker(folder):
    command = (folder / "trials", folder / "poor", "--bootstrap", "40", "--json")
    by_trials = json.loads(run(*command).stdout)["systems"][0]
    by_table = json.loads(run(*command, "--utt2spk", folder / "utt2spk").stdout)["systems"][0]
    # speakers found through target trials are those of the table
    assert by_trials["intervals"] == by_table["intervals"]
    low, high = by_trials["intervals"]["eer"]
    assert low < by_trials["eer"] < high
    assert json.loads(run(*command, "--seed", "1").stdout)["systems"][0] != by_trials
    result = run(*command, "--utt2spk", folder / "trials")
    assert result.exit_code == 1


@pytest.mark.parametrize(("form", "start"), [("markdown", "| system |"), ("latex", r"\begin{tab")])
def test_forms_of_the_table(folder, form, start):
    result = run(folder / "trials", folder / "good", "--format", form, "--points", "sre16")
    assert result.stdout.startswith(start)
    assert "minDCF mean" in result.stdout


def test_kaldi_eer_and_false_alarm_targets(folder):
    result = run(folder / "trials", folder / "poor", "--kaldi-eer", "--far", "0.1", "--json")
    (system,) = json.loads(result.stdout)["systems"]
    assert system["kaldi_eer"] * 36 == pytest.approx(round(system["kaldi_eer"] * 36))
    threshold = system["thresholds"][-1]
    assert threshold["at"] == "P_fa 0.1"
    assert threshold["p_fa"] <= 0.1


@pytest.mark.parametrize(("kind", "suffix"), [("det", "svg"), ("hist", "png"), ("bayes", "pdf")])
def test_pictures_are_the_same_bytes_each_time(folder, kind, suffix):
    path = folder / f"picture.{suffix}"
    command = (folder / "trials", folder / "good", folder / "poor", f"--plot-{kind}", path)
    assert run(*command).exit_code == 0
    first = path.read_bytes()
    result = run(*command)
    assert result.exit_code == 1
    assert "exists already" in result.stderr
    assert run(*command, "--force").exit_code == 0
    assert path.read_bytes() == first


def test_pictures_have_known_suffixes(folder):
    result = run(folder / "trials", folder / "good", "--plot-det", folder / "det.gif")
    assert result.exit_code == 2
    assert "`.png`, `.svg`, `.pdf`" in result.stderr


def test_known_lists_are_named(shared, tmp_path):
    lines = (shared / "data" / "lists" / "veri_test2.txt").read_text().splitlines()
    rows = [line.split() for line in lines]
    scores = [f"{one} {two} {int(row) + len(one + two) % 7}\n" for row, one, two in rows]
    (tmp_path / "scores").write_text("".join(scores))
    trials = shared / "data" / "lists" / "veri_test2.txt"
    record = json.loads(run(trials, tmp_path / "scores", "--json").stdout)
    assert record["list"] == "VoxCeleb1-O (cleaned)"
    assert record["list_recognised_by"] == "hash"
