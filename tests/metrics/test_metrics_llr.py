"""Cllr, actDCF and Kaldi's EER against their definitions, one trial at a time."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sv_cli.metrics.cllr import cllr, min_cllr
from sv_cli.metrics.dcf import OperatingPoint, act_dcf
from sv_cli.metrics.eer import eer, kaldi_eer
from sv_cli.metrics.sweep import error_rates

RATIOS = st.lists(st.floats(-50, 50).map(lambda value: round(value, 2)), min_size=1, max_size=15)


@st.composite
def trials(draw):
    targets, nontargets = draw(RATIOS), draw(RATIOS)
    return np.array(targets + nontargets), np.arange(len(targets + nontargets)) < len(targets)


@given(trials())
def test_cllr_is_its_definition(drawn):
    scores, target = drawn
    misses = [math.log2(1 + math.exp(-score)) for score in scores[target]]
    alarms = [math.log2(1 + math.exp(score)) for score in scores[~target]]
    wanted = (sum(misses) / len(misses) + sum(alarms) / len(alarms)) / 2
    assert cllr(scores, target) == pytest.approx(wanted, rel=1e-9, abs=1e-12)


@given(trials(), st.floats(-700, 700))
def test_cllr_of_far_ratios_is_finite(drawn, shift):
    scores, target = drawn
    assert 0 <= cllr(scores + shift, target) < 2000


@given(trials(), st.floats(0.001, 0.999), st.floats(0.1, 10), st.floats(0.1, 10))
def test_act_dcf_is_its_definition(drawn, p_target, c_miss, c_fa):
    scores, target = drawn
    threshold = math.log(c_fa * (1 - p_target) / (c_miss * p_target))
    p_miss = sum(score < threshold for score in scores[target]) / target.sum()
    p_fa = sum(score >= threshold for score in scores[~target]) / (~target).sum()
    cost = c_miss * p_target * p_miss + c_fa * (1 - p_target) * p_fa
    cost /= min(c_miss * p_target, c_fa * (1 - p_target))
    assert act_dcf(scores, target, OperatingPoint(p_target, c_miss, c_fa)) == pytest.approx(cost)


@given(trials())
def test_the_true_ratios_cannot_be_bettered(drawn):
    """Scores replaced by the ratios that PAV finds for them: their Cllr is the least."""
    scores, target = drawn
    least = min_cllr(error_rates(scores, target))
    assert least <= cllr(scores, target) + 1e-12
    scaled = [cllr(scale * scores + offset, target) for scale in (0.3, 2.0) for offset in (-1, 1)]
    assert least <= min(scaled) + 1e-12


@given(trials())
def test_kaldi_eer_is_a_step_beside_the_interpolated_one(drawn):
    scores, target = drawn
    step = kaldi_eer(scores, target)[0]
    shares = {count / target.sum() for count in range(int(target.sum()) + 1)}
    assert min(abs(step - share) for share in shares) < 1e-12  # a share of the targets
    if len(set(scores.tolist())) == len(scores):  # Kaldi's walk takes ties one by one
        largest_step = 1 / target.sum() + 1 / (~target).sum()
        assert abs(step - eer(error_rates(scores, target))[0]) <= largest_step + 1e-12


@given(trials(), st.randoms())
def test_the_order_of_the_trials_changes_nothing(drawn, random):
    scores, target = drawn
    order = list(range(len(scores)))
    random.shuffle(order)
    one, other = error_rates(scores, target), error_rates(scores[order], target[order])
    assert eer(one) == eer(other)
    assert min_cllr(one) == min_cllr(other)
    assert cllr(scores, target) == pytest.approx(cllr(scores[order], target[order]), rel=1e-12)
