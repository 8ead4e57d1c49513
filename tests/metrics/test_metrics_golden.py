"""EER and minDCF against Kaldi's programs and WeSpeaker's, on recorded scores."""

import numpy as np
import pytest

from sv_cli.metrics.dcf import POINTS, OperatingPoint, act_dcf, min_dcf
from sv_cli.metrics.eer import eer, kaldi_eer
from sv_cli.metrics.lists import candidates, digest_trials
from sv_cli.metrics.sweep import error_rates


def _labelled(path, column=2):
    rows = [line.split() for line in path.read_text().splitlines()]
    return {(row[0], row[1]): row[column] for row in rows}


def _lines(path):
    return [line.split() for line in path.read_text().splitlines()]


def test_kaldi_eer_and_min_dcf_are_exact(shared):
    folder = shared / "golden" / "kaldi" / "plda"
    lines = _lines(folder / "eer.txt")
    assert len(lines) == 11
    for name, *fields in lines:
        want = dict(field.split("=") for field in fields)
        trials = _labelled(folder / ("trials.utt" if name in ("plda.utt", "cos") else "trials"))
        written = _labelled(folder / f"scores.{name}")
        scores = np.array([float(written[key]) for key in trials])
        target = np.array([label == "target" for label in trials.values()])
        rate, threshold = kaldi_eer(scores, target)
        sweep = error_rates(scores, target)
        assert f"{100 * rate:.4g}" == want["eer%"], name
        assert f"{threshold:.6g}" == want["thr"], name
        for p_target in ("0.01", "0.001", "0.05"):
            cost, _ = min_dcf(sweep, OperatingPoint(float(p_target)))
            assert f"{cost:.4f}" == want[f"minDCF.{p_target[2:]}"], (name, p_target)


def test_eer_and_min_dcf_agree_with_wespeaker(shared):
    folder = shared / "golden" / "backend"
    for name, *fields in _lines(folder / "metrics.txt"):
        want = {key: float(value) for key, value in (field.split("=") for field in fields)}
        rows = _lines(folder / f"eval.{name}.score")
        sweep = error_rates([float(row[2]) for row in rows], [row[3] == "target" for row in rows])
        assert 100 * eer(sweep)[0] == pytest.approx(want["eer%"], abs=1e-6)
        for point in POINTS["voxceleb"].points:
            cost, _ = min_dcf(sweep, point)
            assert cost == pytest.approx(want[f"mindcf.{point.name[2:]}"], abs=1e-6)


def _closed_form():
    i, j = np.arange(200), np.arange(2000)
    targets = 0.55 + 0.35 * np.sin(1.7 * i) + 0.1 * np.sin(0.013 * i**2)
    wave = np.sin(0.007 * j**2) * np.abs(np.sin(0.31 * j)) ** 3
    nontargets = 0.35 * np.sin(2.3 * j + 0.5) + 0.45 * wave
    return np.concatenate([targets, nontargets]), np.arange(2200) < 200


def test_closed_form_scores_agree_with_other_programs():
    """Figures of TaoRuijie/ECAPA-TDNN and speaker-net on scores given by a formula."""
    scores, target = _closed_form()
    sweep = error_rates(scores, target)
    assert eer(sweep)[0] == pytest.approx(0.19, abs=1e-9)
    assert min_dcf(sweep, OperatingPoint(0.05))[0] == pytest.approx(0.7515, abs=1e-9)
    assert min_dcf(sweep, OperatingPoint(0.01))[0] == pytest.approx(0.775, abs=1e-9)
    assert act_dcf(scores * 10, target, OperatingPoint(0.01)) == pytest.approx(6.469, abs=1e-9)


@pytest.mark.parametrize(
    ("file", "name"),
    [("veri_test.txt", "VoxCeleb1-O (original)"), ("veri_test2.txt", "VoxCeleb1-O (cleaned)")],
)
def test_known_lists_are_recognised_by_hash(shared, file, name):
    rows = _lines(shared / "data" / "lists" / file)
    target = [row[0] == "1" for row in rows]
    (known,) = candidates(len(rows), sum(target))
    assert known.name == name
    kaldi = [row[1][:-4].replace("/", "-") for row in rows]
    trials = list(zip(kaldi, [row[2] for row in rows], target, strict=True))
    assert digest_trials(reversed(trials)) == known.digest
    trials[0] = (trials[0][0], trials[0][1], not trials[0][2])
    assert digest_trials(trials) != known.digest
