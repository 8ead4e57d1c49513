"""Fusion of systems."""

import numpy as np
import pytest

from sv_cli.backend.fusion import Fusion, fit_fusion
from sv_cli.errors import ShapeError
from sv_cli.metrics.cllr import cllr, min_cllr
from sv_cli.metrics.sweep import error_rates
from sv_cli.scoring.score_files import read_score_model, write_score_model


@pytest.fixture
def two_systems():
    """All pairs of 12 speakers x 4 utterances, scored by two systems with independent errors."""
    generator = np.random.default_rng(5)
    speaker = np.repeat(np.arange(12), 4)
    enroll, test = np.triu_indices(48, k=1)
    target = speaker[enroll] == speaker[test]
    noise = generator.standard_normal((len(target), 2))
    scores = noise * [1.0, 10.0] + np.outer(target, [2.0, 20.0])
    return scores, target


def test_two_systems_are_better_than_each(two_systems, tmp_path):
    scores, target = two_systems
    fusion = fit_fusion(scores, target, ("a", "b"))
    fused = fusion.apply(scores)
    assert fusion.cllr == cllr(fused, target)
    for column in scores.T:
        assert fusion.cllr < min_cllr(error_rates(column, target))
    write_score_model(tmp_path / "f.json", fusion)
    assert read_score_model(tmp_path / "f.json", Fusion) == fusion
    with pytest.raises(ShapeError, match="trained on 2 systems"):
        fusion.apply(scores[:, :1])
