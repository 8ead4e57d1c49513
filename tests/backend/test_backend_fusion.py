"""Fusion of systems and its cross-validation by speaker."""

import numpy as np
import pytest

from sv_cli.backend.fusion import Fusion, cross_validate, fit_fusion
from sv_cli.backend.score_model import read_score_model, write_score_model
from sv_cli.errors import SettingsError, ShapeError
from sv_cli.metrics.bootstrap import TrialSpeakers
from sv_cli.metrics.cllr import cllr, min_cllr
from sv_cli.metrics.sweep import error_rates


@pytest.fixture
def two_systems():
    """All pairs of 12 speakers x 4 utterances, scored by two systems with independent errors."""
    generator = np.random.default_rng(5)
    speaker = np.repeat(np.arange(12), 4)
    enroll, test = np.triu_indices(48, k=1)
    target = speaker[enroll] == speaker[test]
    noise = generator.standard_normal((len(target), 2))
    scores = noise * [1.0, 10.0] + np.outer(target, [2.0, 20.0])
    return scores, target, TrialSpeakers(speaker[enroll], speaker[test], 12)


def test_two_systems_are_better_than_each(two_systems, tmp_path):
    scores, target, _ = two_systems
    fusion = fit_fusion(scores, target, ("a", "b"))
    fused = fusion.apply(scores)
    assert fusion.cllr == cllr(fused, target)
    for column in scores.T:
        assert fusion.cllr < min_cllr(error_rates(column, target))
    write_score_model(tmp_path / "f.json", fusion)
    assert read_score_model(tmp_path / "f.json", Fusion) == fusion
    with pytest.raises(ShapeError, match="trained on 2 systems"):
        fusion.apply(scores[:, :1])


def test_held_out_speakers_are_in_no_training_trial(two_systems):
    scores, target, speakers = two_systems
    held_out = cross_validate(scores, target, speakers, num_folds=4)
    assert len(set(held_out.trials.tolist())) == len(held_out.trials)
    # 4 folds of 3 speakers x 4 utterances: all pairs inside each fold, so all target trials
    assert len(held_out.trials) == 4 * 12 * 11 // 2
    assert set(np.flatnonzero(target)) <= set(held_out.trials.tolist())
    value = cllr(held_out.scores, target[held_out.trials])
    assert value < 0.6
    # labels of the held-out speakers do not reach their own scores
    wrong = target.copy()
    inside = held_out.trials[:66]
    wrong[inside] = ~wrong[inside]
    again = cross_validate(scores, wrong, speakers, num_folds=4)
    np.testing.assert_array_equal(again.scores[:66], held_out.scores[:66])


def test_folds_must_suit_the_speakers(two_systems):
    scores, target, speakers = two_systems
    for num_folds in (1, 13):
        with pytest.raises(SettingsError, match="12 speakers"):
            cross_validate(scores, target, speakers, num_folds=num_folds)
