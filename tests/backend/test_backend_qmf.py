"""Quality measures: forms, feature sets, WeSpeaker's figures, calibration trials."""

import itertools

import numpy as np
import pytest

from sv_cli.backend.qmf import (
    FEATURES,
    Measure,
    Qmf,
    Quality,
    apply_qmf,
    fit_qmf,
    parse_features,
    trial_features,
)
from sv_cli.errors import SettingsError, TableError
from sv_cli.metrics.cllr import cllr
from sv_cli.metrics.eer import eer
from sv_cli.metrics.sweep import error_rates
from sv_cli.scoring.qmf_trials import (
    DurationRange,
    Speaker,
    draw_trials,
    speakers_by_duration,
)
from sv_cli.scoring.score_files import read_score_model, write_score_model


def test_forms_by_hand():
    quality = Quality(["a", "b"], {"duration": np.array([30.0, 5.0])})
    capped = trial_features(quality, np.array([0]), np.array([1]), parse_features("duration<=20"))
    assert capped.tolist() == [[5.0, 20.0, 15.0, 4.0]]
    plain = parse_features("duration:max+min")
    assert trial_features(quality, np.array([1]), np.array([0]), plain).tolist() == [[5.0, 30.0]]


def test_sides_can_be_swapped():
    generator = np.random.default_rng(0)
    quality = Quality(["a", "b", "c"], {"magnitude": generator.random(3) + 1})
    enroll, test = np.array([0, 1, 2]), np.array([1, 2, 2])
    features = parse_features("magnitude")
    one = trial_features(quality, enroll, test, features)
    np.testing.assert_array_equal(one, trial_features(quality, test, enroll, features))
    np.testing.assert_array_equal(one[2, 2:], [0, 1])


@pytest.mark.parametrize(
    ("name", "count"), [("wespeaker-voxceleb", 13), ("wespeaker-cnceleb", 9), ("speaker-net", 5)]
)
def test_named_sets_have_their_size(name, count):
    assert 1 + sum(len(measure.forms) for measure in FEATURES[name]) == count


def _published(name, duration, magnitude, cohort):
    """Features of one trial as the projects define them, each measure a pair (enroll, test)."""
    four = [
        lambda p: min(p),
        lambda p: max(p),
        lambda p: max(p) - min(p),
        lambda p: max(p) / min(p),
    ]
    capped = tuple(min(value, 20.0) for value in duration)
    if name == "speaker-net":
        return [form(pair) for pair in (duration, cohort) for form in four[:2]]
    pairs = {"wespeaker-voxceleb": (capped, magnitude, cohort)}.get(name, (magnitude, cohort))
    return [form(pair) for pair in pairs for form in four]


@pytest.mark.parametrize("name", list(FEATURES))
def test_named_sets_are_those_of_the_projects(name):
    measures = {"duration": (31.0, 4.5), "magnitude": (9.0, 12.0), "cohort_mean": (0.2, 0.16)}
    quality = Quality(["a", "b"], {key: np.array(pair) for key, pair in measures.items()})
    (row,) = trial_features(quality, np.array([0]), np.array([1]), FEATURES[name])
    np.testing.assert_allclose(row, _published(name, *measures.values()), rtol=1e-12)


@pytest.mark.parametrize("text", ["speaker-nett", "duration:mean", "duration<=x", ":min", ""])
def test_features_are_checked(text):
    with pytest.raises(SettingsError, match="no set of features"):
        parse_features(text)


def test_what_is_missing_is_named():
    quality = Quality(["a", "b"], {"cohort_mean": np.array([0.0, np.nan])})
    with pytest.raises(TableError, match="1 utterances have no quality: `c`"):
        quality.rows(["a", "c"])
    with pytest.raises(TableError, match="no column `snr`"):
        quality.select(Measure(name="snr", forms=("min",)))
    with pytest.raises(TableError, match="zero or not finite for `a`, `b`"):
        quality.select(Measure(name="cohort_mean", forms=("ratio",)))
    with pytest.raises(TableError, match="for `b`"):
        quality.select(Measure(name="cohort_mean", forms=("min",)))


def _golden(folder, name):
    """Scores, labels and WeSpeaker's 13 features of the columns that its AS-norm wrote."""
    rows = [line.split() for line in (folder / f"{name}.asnorm50.score").read_text().splitlines()]
    lines = (folder / f"{name}.utt2dur").read_text().splitlines()
    durations = dict(line.split() for line in lines)
    measured = {}
    for enroll, test, _, _, *numbers in rows:
        measured[enroll] = (float(durations[enroll]), float(numbers[0]), float(numbers[2]))
        measured[test] = (float(durations[test]), float(numbers[1]), float(numbers[3]))
    columns = np.array(list(measured.values())).T
    names = ("duration", "magnitude", "cohort_mean")
    quality = Quality(list(measured), dict(zip(names, columns, strict=True)))
    sides = (quality.rows([row[side] for row in rows]) for side in (0, 1))
    forms = trial_features(quality, *sides, FEATURES["wespeaker-voxceleb"])
    scores = np.array([float(row[2]) for row in rows])
    return scores, np.array([row[3] == "target" for row in rows]), forms


def test_as_good_as_wespeaker(shared, tmp_path):
    folder = shared / "golden" / "backend"
    scores, target, forms = _golden(folder, "dev")
    model = fit_qmf(scores, forms, target, FEATURES["wespeaker-voxceleb"])
    write_score_model(tmp_path / "qmf.json", model)
    model = read_score_model(tmp_path / "qmf.json", Qmf)

    # WeSpeaker's weights follow from the scores that it wrote, which are linear in the features
    eval_scores, eval_target, eval_forms = _golden(folder, "eval")
    lines = (folder / "eval.qmf.score").read_text().splitlines()
    theirs = np.array([float(line.split()[2]) for line in lines])
    columns = np.column_stack([eval_scores, eval_forms, np.ones(len(theirs))])
    weights = np.linalg.lstsq(columns, theirs)[0]
    np.testing.assert_allclose(columns @ weights, theirs, atol=1e-3)
    their_dev = np.column_stack([scores, forms, np.ones(len(scores))]) @ weights
    assert model.cllr <= cllr(their_dev, target)

    ours = apply_qmf(model, eval_scores, eval_forms)
    assert 100 * eer(error_rates(ours, eval_target))[0] == pytest.approx(1.487492, abs=0.2)


def _durations(num_speakers=8, num_short=4, num_long=4):
    utt2spk, utt2dur = {}, {}
    for spk, utt in itertools.product(range(num_speakers), range(num_short + num_long)):
        utt2spk[f"s{spk}-{utt}"] = f"s{spk}"
        utt2dur[f"s{spk}-{utt}"] = 3.0 if utt < num_short else 9.0
    return utt2spk, utt2dur


def test_calibration_trials_are_what_they_say():
    utt2spk, utt2dur = _durations()
    speakers = speakers_by_duration(utt2spk, utt2dur, DurationRange())
    trials = draw_trials(speakers, num_trials=120, seed=7)
    assert trials == draw_trials(speakers, num_trials=120, seed=7)
    assert trials != draw_trials(speakers, num_trials=120, seed=8)
    assert len({frozenset(pair) for *pair, _ in trials}) == len(trials) == 120
    kinds = [(utt2dur[a] > 6, utt2dur[b] > 6, target) for a, b, target in trials]
    sides = [(False, False), (False, True), (True, True)]
    for left, right in sides:
        for target in (True, False):
            assert kinds.count((left, right, target)) == 20
    for enroll, test, target in trials:
        assert enroll != test
        assert (utt2spk[enroll] == utt2spk[test]) == target


def test_too_few_pairs_give_fewer_trials():
    utt2spk, utt2dur = _durations(num_speakers=2, num_short=1, num_long=2)
    speakers = speakers_by_duration(utt2spk, utt2dur, DurationRange())
    trials = draw_trials(speakers, num_trials=600)
    # target: none short-short, 2 x 2 short-long, 2 x 1 long-long; nontarget: 1, 4 and 4
    assert sum(target for *_, target in trials) == 6
    assert sum(not target for *_, target in trials) == 9


def test_speakers_need_short_and_long_utterances():
    utt2spk = {"a-1": "a", "a-2": "a", "b-1": "b", "b-2": "b"}
    utt2dur = {"a-1": 1.0, "a-2": 8.0, "b-1": 2.5, "b-2": 6.0}
    limits = DurationRange(shortest=2.0, boundary=6.0)
    assert speakers_by_duration(utt2spk, utt2dur, limits) == [Speaker(["b-1"], ["b-2"])]
