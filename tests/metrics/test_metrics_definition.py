"""Every metric against a brute-force definition, and the identities that it must keep."""

import math
from itertools import pairwise
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sv_cli.errors import ShapeError, TableError
from sv_cli.metrics import pav
from sv_cli.metrics.cllr import cllr, min_cllr
from sv_cli.metrics.dcf import POINTS, OperatingPoint, act_dcf, min_dcf, parse_points
from sv_cli.metrics.eer import eer, interpolated_eer, kaldi_eer
from sv_cli.metrics.pav import hull_corners, pool
from sv_cli.metrics.report import threshold_for_p_fa, threshold_for_p_miss
from sv_cli.metrics.sweep import error_rates

LEVELS = st.integers(-4, 4).map(lambda level: level / 2)  # few levels: many ties


@st.composite
def trials(draw):
    targets = draw(st.lists(LEVELS, min_size=1, max_size=12))
    nontargets = draw(st.lists(LEVELS, min_size=1, max_size=12))
    scores = np.array(targets + nontargets)
    target = np.arange(len(scores)) < len(targets)
    order = draw(st.permutations(range(len(scores))))
    return scores[order], target[order]


def operating_points(scores, target):
    """Every (P_miss, P_fa), by deciding all trials at every threshold there can be."""
    for threshold in [-np.inf, *sorted(set(scores.tolist()))[1:], np.inf]:
        accepted = scores >= threshold
        yield np.mean(~accepted[target]), np.mean(accepted[~target])


def eer_by_definition(scores, target):
    points = list(operating_points(scores, target))
    for (m0, f0), (m1, f1) in pairwise(points):
        if m0 < f0 and m1 >= f1:
            share = (f0 - m0) / ((f0 - m0) + (m1 - f1))
            return m0 + share * (m1 - m0)
    raise AssertionError


def pav_by_definition(scores, target):
    """Pool neighbours one pair at a time until the share of targets ascends."""
    blocks = [
        [np.count_nonzero(target & (scores == s)), np.count_nonzero(scores == s)]
        for s in sorted(set(scores.tolist()))
    ]
    position = 0
    while position + 1 < len(blocks):
        (t0, n0), (t1, n1) = blocks[position], blocks[position + 1]
        if t0 * n1 >= t1 * n0:
            blocks[position : position + 2] = [[t0 + t1, n0 + n1]]
            position = max(position - 1, 0)
        else:
            position += 1
    return blocks


def min_cllr_by_definition(scores, target):
    num_target, num_nontarget = target.sum(), (~target).sum()
    total = 0.0
    for hits, size in pav_by_definition(scores, target):
        others = size - hits
        if hits and others:
            ratio = (hits / num_target) / (others / num_nontarget)
            total += hits / num_target * math.log2(1 + 1 / ratio)
            total += others / num_nontarget * math.log2(1 + ratio)
    return total / 2


@given(trials())
def test_eer_is_its_definition(drawn):
    scores, target = drawn
    assert eer(error_rates(scores, target))[0] == pytest.approx(eer_by_definition(scores, target))


@given(trials(), st.floats(0.001, 0.999), st.floats(0.1, 10), st.floats(0.1, 10))
def test_min_dcf_is_its_definition(drawn, p_target, c_miss, c_fa):
    scores, target = drawn
    least = min(
        c_miss * p_target * m + c_fa * (1 - p_target) * f
        for m, f in operating_points(scores, target)
    )
    least /= min(c_miss * p_target, c_fa * (1 - p_target))
    point = OperatingPoint(p_target, c_miss, c_fa)
    assert min_dcf(error_rates(scores, target), point)[0] == pytest.approx(least)


@given(trials())
def test_thresholds_reproduce_their_operating_points(drawn):
    scores, target = drawn
    sweep = error_rates(scores, target)
    for threshold, p_miss, p_fa in zip(sweep.thresholds, sweep.p_miss, sweep.p_fa, strict=True):
        accepted = scores >= threshold
        assert np.mean(~accepted[target]) == pytest.approx(p_miss)
        assert np.mean(accepted[~target]) == pytest.approx(p_fa)
    one_by_one = [sweep.threshold(point) for point in range(len(sweep.misses))]
    assert one_by_one == sweep.thresholds.tolist()


@settings(deadline=None)
@given(trials(), st.integers(1, 5))
def test_corners_are_found_block_by_block(drawn, num_points):
    sweep = error_rates(*drawn)
    whole = pav._is_corner(sweep.false_alarms, sweep.misses)
    with mock.patch.object(pav, "_BLOCK_POINTS", num_points):
        parts = pav._is_corner(sweep.false_alarms, sweep.misses)
    np.testing.assert_array_equal(parts, whole)


@given(trials())
def test_min_cllr_is_brute_force_pav(drawn):
    scores, target = drawn
    sweep = error_rates(scores, target)
    assert min_cllr(sweep) == pytest.approx(min_cllr_by_definition(scores, target), abs=1e-12)
    blocks = pav_by_definition(scores, target)
    assert pool(sweep).num_target.tolist() == [hits for hits, _ in blocks]


@given(trials())
def test_monotone_maps_change_nothing(drawn):
    scores, target = drawn
    before, after = error_rates(scores, target), error_rates(np.exp(scores) - 3, target)
    assert eer(before)[0] == eer(after)[0]
    assert min_cllr(before) == min_cllr(after)
    for point in POINTS["voxceleb"].points:
        assert min_dcf(before, point)[0] == min_dcf(after, point)[0]
    assert kaldi_eer(scores, target)[0] == kaldi_eer(np.exp(scores) - 3, target)[0]


@given(trials())
def test_swapping_labels_and_signs_swaps_the_errors(drawn):
    scores, target = drawn
    sweep, swapped = error_rates(scores, target), error_rates(-scores, ~target)
    np.testing.assert_allclose(sweep.p_miss, swapped.p_fa[::-1])
    np.testing.assert_allclose(sweep.p_fa, swapped.p_miss[::-1])
    assert eer(sweep)[0] == pytest.approx(eer(swapped)[0])
    assert cllr(scores, target) == pytest.approx(cllr(-scores, ~target))
    assert min_cllr(sweep) == pytest.approx(min_cllr(swapped), abs=1e-12)


@given(trials())
def test_bounds(drawn):
    scores, target = drawn
    sweep = error_rates(scores, target)
    assert min_cllr(sweep) <= min(1, cllr(scores, target)) + 1e-12
    corners = hull_corners(sweep.false_alarms, sweep.misses)
    on_the_hull = interpolated_eer(sweep.p_miss[corners], sweep.p_fa[corners])
    assert on_the_hull <= eer(sweep)[0] + 1e-12
    for point in POINTS["sre16"].points:
        assert min_dcf(sweep, point)[0] <= min(1, act_dcf(scores, target, point)) + 1e-12


@given(trials(), st.floats(0, 1))
def test_thresholds_for_rates_keep_their_promise(drawn, rate):
    scores, target = drawn
    sweep = error_rates(scores, target)
    assert np.mean(scores[~target] >= threshold_for_p_fa(sweep, rate)) <= rate + 1e-12
    if rate < 1:
        assert np.mean(scores[target] < threshold_for_p_miss(sweep, rate)) <= rate + 1e-12


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.05, 0.5]), st.sampled_from([0.0, 1.0, 4.0]))
def test_hull_of_long_lists_is_the_walked_one(seed, prior, distance):
    generator = np.random.default_rng(seed)
    target = generator.random(5000) < prior
    scores = np.round(generator.standard_normal(5000) + distance * target, 3)
    sweep = error_rates(scores, target)
    corners = hull_corners(sweep.false_alarms, sweep.misses)
    widths = np.maximum(-np.diff(sweep.false_alarms[corners]), 1e-12)
    steps = np.diff(sweep.misses[corners]) / widths
    assert (np.diff(steps) > 0).all()
    x, y = sweep.false_alarms, sweep.misses
    height = np.interp(-x, -x[corners], y[corners])  # of the hull at every point
    assert (y[x > 0] >= height[x > 0] - 1e-9).all()


def test_ties_do_not_depend_on_the_order_of_the_lines():
    scores, target = np.full(4, 0.5), np.array([True, True, False, False])
    for flipped in (target, target[::-1]):
        assert eer(error_rates(scores, flipped))[0] == 0.5


def test_perfect_and_inverted_systems():
    scores, target = np.array([1.0, 2.0, 3.0]), np.array([False, True, True])
    assert eer(error_rates(scores, target)) == (0.0, 1.5)
    assert min_cllr(error_rates(scores, target)) == 0.0
    assert eer(error_rates(-scores, target))[0] == 1.0
    assert min_dcf(error_rates(-scores, target), OperatingPoint(0.01))[0] == 1.0


def test_neighbouring_floats_are_told_apart():
    low = 1.0
    high = np.nextafter(low, 2)
    sweep = error_rates([low, high], [False, True])
    assert eer(sweep) == (0.0, high)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_scores_that_are_not_finite_are_named(value):
    with pytest.raises(TableError, match=r"1 of 3 scores are not finite: `1: "):
        error_rates([0.0, value, 1.0], [True, False, True])


@pytest.mark.parametrize(("label", "kind"), [(True, "target"), (False, "nontarget")])
def test_one_class_has_no_error_rate(label, kind):
    with pytest.raises(TableError, match=f"all 2 trials are {kind} trials"):
        error_rates([0.0, 1.0], [label, label])


def test_lengths_must_match():
    with pytest.raises(ShapeError):
        error_rates([0.0, 1.0], [True])


def test_points_are_parsed_and_refused():
    assert parse_points("sre08").points == (OperatingPoint(0.01, 10, 1),)
    assert parse_points("0.1,0.02:10:1").points == (
        OperatingPoint(0.1),
        OperatingPoint(0.02, 10, 1),
    )
    for wrong in ("voxcelebb", "0.1:2", "1.5", "0.1:0:1", "nan"):
        with pytest.raises(Exception, match="--points"):
            parse_points(wrong)
