"""Prior-weighted logistic regression: its optimum, its invariances, its refusals."""

import numpy as np
import pytest
from scipy.optimize import minimize

from sv_cli.backend.logistic import fit_logistic
from sv_cli.errors import SettingsError, ShapeError, TableError


def _gaussian(seed=0, num=400, dim=2):
    generator = np.random.default_rng(seed)
    target = generator.random(num) < 0.3
    features = generator.standard_normal((num, dim)) * [1.0, 5.0][:dim] + 1.5 * target[:, None]
    return features, target


@pytest.mark.parametrize("p_target", [0.5, 0.01, 0.9])
def test_the_optimum_is_that_of_a_general_optimiser(p_target):
    features, target = _gaussian()
    shift = np.log(p_target / (1 - p_target))

    def loss(parameters):
        llr = features @ parameters[:2] + parameters[2]
        miss = np.logaddexp(0, -(llr + shift)[target]).mean()
        false_alarm = np.logaddexp(0, (llr + shift)[~target]).mean()
        return p_target * miss + (1 - p_target) * false_alarm

    want = minimize(loss, np.zeros(3), method="BFGS", options={"gtol": 1e-9}).x
    fit = fit_logistic(features, target, p_target=p_target, ridge=0.0)
    np.testing.assert_allclose([*fit.weights, fit.offset], want, atol=2e-5)
    assert not fit.separable


def test_linear_maps_of_the_features_give_the_same_ratios():
    features, target = _gaussian()
    before = fit_logistic(features, target, ridge=0.0).apply(features)
    mapped = features @ np.array([[2.0, 1.0], [0.0, -300.0]]) + [1e4, -7.0]
    after = fit_logistic(mapped, target, ridge=0.0).apply(mapped)
    np.testing.assert_allclose(before, after, atol=1e-6)


def test_swapping_labels_and_prior_negates_the_ratio():
    features, target = _gaussian()
    fit = fit_logistic(features, target, p_target=0.2)
    swapped = fit_logistic(features, ~target, p_target=0.8)
    np.testing.assert_allclose(fit.apply(features), -swapped.apply(features), atol=1e-8)


def test_gaussian_scores_give_their_true_ratio():
    """Of N(1, 1) against N(-1, 1) the log-likelihood ratio is 2 x."""
    generator = np.random.default_rng(1)
    target = np.arange(40000) % 2 == 0
    scores = generator.standard_normal(40000) + np.where(target, 1.0, -1.0)
    fit = fit_logistic(scores[:, None], target)
    assert fit.weights[0] == pytest.approx(2.0, abs=0.1)
    assert fit.offset == pytest.approx(0.0, abs=0.1)


def test_dependent_and_constant_features_do_no_harm():
    features, target = _gaussian()
    wide = np.column_stack([features, features.sum(axis=1), np.full(len(features), 7.0)])
    fit = fit_logistic(wide, target)
    assert fit.weights[3] == 0
    plain = fit_logistic(features, target)
    np.testing.assert_allclose(fit.apply(wide), plain.apply(features), atol=1e-4)


def test_separable_classes_end_and_say_so():
    scores = np.array([[0.0], [1.0], [2.0], [3.0]])
    fit = fit_logistic(scores, scores[:, 0] > 1.5)
    assert fit.separable
    assert np.isfinite(fit.weights).all()


def test_refusals():
    features, target = _gaussian()
    with pytest.raises(TableError, match="target and nontarget"):
        fit_logistic(features, np.ones(len(features), dtype=bool))
    with pytest.raises(ShapeError):
        fit_logistic(features, target[1:])
    with pytest.raises(SettingsError):
        fit_logistic(features, target, p_target=1.0)
    features[7, 1] = np.nan
    with pytest.raises(TableError, match="trial 8 is not finite"):
        fit_logistic(features, target)
