"""Calibration maps, decision thresholds, and the files that hold them."""

import json

import numpy as np
import pytest

from sv_cli.backend.calibration import (
    Calibration,
    DecisionThreshold,
    choose_threshold,
    fit_calibration,
    upper_bound,
)
from sv_cli.errors import SettingsError, TableError
from sv_cli.metrics.cllr import cllr, min_cllr
from sv_cli.metrics.sweep import error_rates
from sv_cli.scoring.score_files import check_scores, read_score_model, write_score_model
from sv_cli.tables.lineage import Lineage, Step, embed


@pytest.fixture
def trials():
    generator = np.random.default_rng(3)
    target = generator.random(3000) < 0.3
    return 0.2 + 0.15 * generator.standard_normal(3000) + 0.4 * target, target


@pytest.mark.parametrize("method", ["logistic", "pav"])
def test_calibration_comes_near_the_least_cllr(trials, method):
    scores, target = trials
    made = fit_calibration(scores, target, method=method)
    least = min_cllr(error_rates(scores, target))
    assert made.min_cllr == least
    assert made.cllr_before == cllr(scores, target)
    assert made.cllr_after == cllr(made.apply(scores), target)
    assert least <= made.cllr_after + 1e-12 < least + 0.03 < made.cllr_before


@pytest.mark.parametrize("method", ["logistic", "pav"])
def test_calibration_keeps_the_order_of_scores(trials, method):
    made = fit_calibration(*trials, method=method)
    llr = made.apply(np.linspace(-3, 3, 1001))
    assert np.isfinite(llr).all()
    assert (np.diff(llr) >= 0).all()


def test_distances_are_refused(trials):
    scores, target = trials
    with pytest.raises(SettingsError, match="targets score lower"):
        fit_calibration(-scores, target)


@pytest.mark.parametrize("method", ["logistic", "pav"])
def test_equal_scores_are_refused(trials, method):
    scores, target = trials
    with pytest.raises(TableError, match=r"all \d+ scores are 0.5: there is nothing to calibrate"):
        fit_calibration(np.full(len(scores), 0.5), target, method=method)


def test_files_come_back_as_they_were(trials, tmp_path):
    made = fit_calibration(*trials, method="pav").model_copy(update={"model_hash": "ab" * 32})
    write_score_model(tmp_path / "cal.json", made)
    assert read_score_model(tmp_path / "cal.json", Calibration) == made


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "fusion"}, "is no calibration model but a fusion model"),
        ({"version": 2}, "has version 2, not 1"),
        ({"scale": "x"}, "`scale`"),
        ({"scal": 1.0}, "unknown setting"),
    ],
)
def test_files_are_checked(trials, tmp_path, change, message):
    path = tmp_path / "cal.json"
    write_score_model(path, fit_calibration(*trials))
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(TableError, match=message):
        read_score_model(path, Calibration)


@pytest.mark.parametrize(("text", "message"), [("{", "is no JSON"), ("[]", "no JSON object")])
def test_files_that_are_no_json(tmp_path, text, message):
    path = tmp_path / "cal.json"
    path.write_text(text)
    with pytest.raises(TableError, match=message):
        read_score_model(path, Calibration)
    with pytest.raises(TableError, match="cannot read"):
        read_score_model(tmp_path / "none.json", Calibration)


def scores(model, *commands):
    """The lineage of scores `x` of a model and some commands."""
    known = None if model is None else {"model_hash": model}
    return Lineage("scores", known, tuple(map(Step, commands)), source="x")


@pytest.mark.parametrize(
    ("given", "refused"),
    [
        (scores("a", "asnorm"), None),
        (scores("a"), None),
        (scores(None, "asnorm"), None),
        (scores(None), None),
        (scores("b", "asnorm"), "was trained on scores of model a, `x` is of b"),
        (scores("a", "score"), "was trained on other scores than `x` holds: `asnorm` and `score`"),
    ],
)
def test_scores_of_another_model_or_command_are_refused(trials, given, refused):
    made = choose_threshold(*trials, "eer")
    check_scores(made, given, path="t.json")  # trained on scores of unknown lineage
    made = made.model_copy(update={"lineage": embed(scores("a", "asnorm"))})
    if refused is None:
        check_scores(made, given, path="t.json")
        return
    with pytest.raises(TableError, match=refused):
        check_scores(made, given, path="t.json")


@pytest.mark.parametrize(
    "at", ["eer", "min-dcf:0.01", "bayes:0.5", "far:0.01", "frr:0.02", "score:0.4"]
)
def test_expected_error_rates_are_those_of_the_decisions(trials, tmp_path, at):
    scores, target = trials
    made = choose_threshold(scores, target, at)
    accepted = scores >= made.threshold
    assert made.false_accept_rate == pytest.approx(np.mean(accepted[~target]))
    assert made.false_reject_rate == pytest.approx(np.mean(~accepted[target]))
    assert made.false_accept_rate <= made.false_accept_upper <= 1
    if at.startswith("far"):
        assert made.false_accept_rate <= 0.01
    if at.startswith("frr"):
        assert made.false_reject_rate <= 0.02
    write_score_model(tmp_path / "t.json", made)
    assert read_score_model(tmp_path / "t.json", DecisionThreshold) == made


@pytest.mark.parametrize("at", ["EER", "far", "far:x", "far:1", "bayes:0", "score:inf", ""])
def test_rules_for_thresholds_are_checked(trials, at):
    with pytest.raises(SettingsError, match="no rule for a threshold"):
        choose_threshold(*trials, at)


def test_a_rate_that_no_threshold_keeps_to():
    with pytest.raises(SettingsError, match="rejects all trials"):
        choose_threshold([0.0, 1.0], [True, False], "far:0.1")


def test_upper_bound_by_hand():
    # no error in 100 trials: Wilson's interval ends at z^2 / (n + z^2)
    assert upper_bound(0.0, 100) == pytest.approx(1.96**2 / (100 + 1.96**2))
