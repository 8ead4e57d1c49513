"""Intervals by speaker, conditions, pictures' numbers, layouts."""

import numpy as np
import pytest

from sv_cli.errors import SettingsError
from sv_cli.metrics import det
from sv_cli.metrics.bootstrap import (
    TrialSpeakers,
    confidence_intervals,
    speakers_of_target_trials,
    weighted_cllr,
)
from sv_cli.metrics.cllr import cllr
from sv_cli.metrics.conditions import split_by_condition
from sv_cli.metrics.dcf import parse_points
from sv_cli.metrics.det import bayes_errors, det_points, probit
from sv_cli.metrics.eer import eer
from sv_cli.metrics.layout import LAYOUTS, result_table
from sv_cli.metrics.report import report
from sv_cli.metrics.sweep import error_rates


def _pairs(num_speakers, num_utts, *, seed=0):
    generator = np.random.default_rng(seed)
    speaker = np.repeat(np.arange(num_speakers), num_utts)
    enroll, test = np.triu_indices(len(speaker), k=1)
    target = speaker[enroll] == speaker[test]
    bias = generator.standard_normal(num_speakers)  # trials of one speaker are alike
    scores = 2.0 * target + generator.standard_normal(len(target)) + bias[speaker[enroll]]
    return scores, target, TrialSpeakers(speaker[enroll], speaker[test], num_speakers)


def test_weights_count_trials_as_often_as_their_speakers_were_drawn():
    scores, target, speakers = _pairs(5, 3)
    seen = []

    def compare(drawn):
        repeated = np.repeat(drawn.scores, drawn.weights.astype(int))
        labels = np.repeat(drawn.target, drawn.weights.astype(int))
        assert drawn.sweep.num_target == labels.sum()
        assert eer(drawn.sweep)[0] == pytest.approx(eer(error_rates(repeated, labels))[0])
        assert weighted_cllr(drawn) == pytest.approx(cllr(repeated, labels))
        seen.append(len(repeated))
        return 0.0

    confidence_intervals(scores, target, speakers, {"x": compare}, num_replicates=20)
    assert len(seen) == 20


def test_intervals_hold_the_value_and_follow_the_seed():
    scores, target, speakers = _pairs(20, 4)
    statistics = {"eer": lambda drawn: eer(drawn.sweep)[0]}
    first = confidence_intervals(scores, target, speakers, statistics, num_replicates=200)
    low, high = first["eer"]
    assert low < eer(error_rates(scores, target))[0] < high
    again = confidence_intervals(scores, target, speakers, statistics, num_replicates=200)
    assert again == first
    # as if every trial had speakers of its own: too narrow
    alone = np.arange(len(target))
    naive = confidence_intervals(
        scores, target, TrialSpeakers(alone, alone, len(alone)), statistics, num_replicates=200
    )["eer"]
    assert naive[1] - naive[0] < high - low


def test_one_speaker_has_no_interval():
    with pytest.raises(SettingsError, match="two speakers"):
        confidence_intervals(
            [0.0, 1.0], [False, True], TrialSpeakers(np.zeros(2, int), np.zeros(2, int), 1), {}
        )


def test_speakers_are_what_target_trials_join():
    # 0-1 and 1-2 join 0, 1, 2; 5-4 joins 4, 5; 3 is alone
    enroll, test = np.array([0, 1, 5, 3]), np.array([1, 2, 4, 0])
    target = np.array([True, True, True, False])
    speaker, num_speakers = speakers_of_target_trials(enroll, test, target)
    assert num_speakers == 3
    assert speaker.tolist() == [0, 0, 0, 1, 2, 2]


def test_long_chains_are_joined():
    chain = np.random.default_rng(0).permutation(500)
    speaker, num_speakers = speakers_of_target_trials(
        chain[:-1], chain[1:], np.ones(499, dtype=bool)
    )
    assert num_speakers == 1
    assert (speaker == 0).all()


def test_conditions_of_one_class_take_the_other_class_whole():
    labels = ["same", "same", "cross", "cross", "t"]
    target = np.array([True, False, False, False, True])
    parts = {part.name: part for part in split_by_condition(labels, target)}
    assert parts["same"].trials.tolist() == [True, True, False, False, False]
    assert not parts["same"].completed
    assert parts["cross"].trials.tolist() == [True, False, True, True, True]
    assert parts["cross"].completed
    assert parts["t"].trials.tolist() == [False, True, True, True, True]
    # targets under one name, completed with all nontargets, are the whole list: nothing new
    labels = ["target", "same", "cross", "cross", "target"]
    assert [part.name for part in split_by_condition(labels, target)] == ["cross", "same"]


def test_probit_by_hand():
    np.testing.assert_allclose(
        probit(np.array([0.5, 0.975, 0.0, 1.0])), [0.0, 1.959963985, -np.inf, np.inf], atol=1e-9
    )


def test_thinned_det_points_are_on_the_curve():
    generator = np.random.default_rng(0)
    target = generator.random(100000) < 0.5
    sweep = error_rates(generator.standard_normal(100000) + 2 * target, target)
    p_fa, p_miss = det_points(sweep)
    assert 500 < len(p_fa) <= 2000
    assert (p_fa[0], p_miss[0]) == (1, 0)
    curve = set(zip(sweep.p_fa.tolist(), sweep.p_miss.tolist(), strict=True))
    assert set(zip(p_fa.tolist(), p_miss.tolist(), strict=True)) <= curve


def test_bayes_error_by_definition():
    scores, target, _ = _pairs(6, 3)
    priors = np.array([-3.0, 0.0, 1.5])
    actual, least, default = bayes_errors(scores, target, error_rates(scores, target), priors)
    for log_odds, got in zip(priors, actual, strict=True):
        prior = 1 / (1 + np.exp(-log_odds))
        accepted = scores >= -log_odds
        want = prior * np.mean(~accepted[target]) + (1 - prior) * np.mean(accepted[~target])
        assert got == pytest.approx(want)
    assert (least <= actual + 1e-12).all()
    assert (least <= default + 1e-12).all()


def test_layouts_hold_the_same_cells():
    scores, target, _ = _pairs(6, 3)
    made = report(scores, target, parse_points("sre16"), name="a_b & c|d", with_kaldi_eer=True)
    header, rows = result_table([made])
    assert len(header) == len(rows[0])
    assert "minDCF mean" in header
    texts = {name: layout(header, rows) for name, layout in LAYOUTS.items()}
    for cell in rows[0][1:]:
        assert all(cell in text for text in texts.values())
    assert r"a\_b \& c|d" in texts["latex"]
    assert LAYOUTS["latex"]([r"\input{x}~^"], []).splitlines()[2] == (
        r"\textbackslash{}input\{x\}\textasciitilde{}\textasciicircum{} \\"
    )
    assert r"a_b & c\|d" in texts["markdown"]
    record = made.to_json()
    assert record["costs"][0]["point"]["name"] == "0.01"


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_any_name_can_be_drawn(tmp_path, suffix):
    draw = np.random.default_rng(0)
    scores = np.concatenate([draw.normal(1, 1, 60), draw.normal(-1, 1, 60)])
    target = np.arange(120) < 60
    systems = dict.fromkeys(("a$b", "$\\frac{", "x�", "tab\t"), (scores, target))
    points = parse_points("0.05")
    det.plot_det(tmp_path / f"det.{suffix}", systems, points)
    det.plot_histogram(tmp_path / f"histogram.{suffix}", systems)
    det.plot_bayes(tmp_path / f"bayes.{suffix}", systems, points)
    assert all(path.stat().st_size > 1000 for path in tmp_path.iterdir())
