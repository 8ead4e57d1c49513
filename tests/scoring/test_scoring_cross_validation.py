"""Cross-validation by speaker: no fit hears a speaker of the trials that it scores."""

import numpy as np
import pytest

from sv_cli.backend.logistic import fit_logistic
from sv_cli.errors import SettingsError
from sv_cli.metrics.bootstrap import TrialSpeakers
from sv_cli.metrics.cllr import cllr
from sv_cli.scoring.cross_validation import cross_validate


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


def test_held_out_scores_are_almost_as_good(two_systems):
    scores, target, speakers = two_systems
    held_out = cross_validate(scores, target, speakers, num_folds=4)
    own = fit_logistic(scores, target).apply(scores)
    assert cllr(own, target) < cllr(held_out, target) < 1.2 * cllr(own, target)


@pytest.mark.parametrize("seed", [0, 1])
def test_labels_of_a_speaker_do_not_reach_trials_of_that_speaker(two_systems, seed):
    scores, target, speakers = two_systems
    before = cross_validate(scores, target, speakers, num_folds=4, seed=seed)
    of_seven = (speakers.enroll == 7) | (speakers.test == 7)
    after = cross_validate(scores, target ^ of_seven, speakers, num_folds=4, seed=seed)
    np.testing.assert_array_equal(before[of_seven], after[of_seven])
    assert not np.array_equal(before[~of_seven], after[~of_seven])


def test_one_speaker_a_fold_is_leaving_both_speakers_out(two_systems):
    scores, target, speakers = two_systems
    found = cross_validate(scores, target, speakers, num_folds=12)
    for trial in (0, 100, 700, 1127):
        sides = [speakers.enroll[trial], speakers.test[trial]]
        others = ~np.isin(speakers.enroll, sides) & ~np.isin(speakers.test, sides)
        fit = fit_logistic(scores[others], target[others])
        assert found[trial] == pytest.approx(fit.apply(scores[[trial]])[0], rel=1e-9)


def test_folds_must_suit_the_speakers(two_systems):
    scores, target, speakers = two_systems
    for num_folds in (1, 2, 13):
        with pytest.raises(SettingsError, match="is not within 3 and the 12 speakers"):
            cross_validate(scores, target, speakers, num_folds=num_folds)
    few = np.isin(speakers.enroll, [0, 1, 2]) & np.isin(speakers.test, [0, 1, 2])
    some = TrialSpeakers(speakers.enroll[few], speakers.test[few], 3)
    with pytest.raises(SettingsError, match="leaves a fold without one class"):
        cross_validate(scores[few], target[few], some, num_folds=3)
