"""Products on other devices and in bf16 against numpy's."""

import numpy as np
import pytest

from sv_cli.backend.cosine import IN_NUMPY, iterate_dense, select_dense
from sv_cli.extraction.gemm import in_torch


def tables() -> tuple[np.ndarray, np.ndarray]:
    """Enrolment with repeated rows, so that there are ties, and tests."""
    draw = np.random.default_rng(4)
    rows = draw.standard_normal((790, 32)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return np.concatenate([rows[:700], rows[:20]]), rows[700:]


DEVICES = [
    ("cpu", "fp32"), ("cpu", "bf16"),
    pytest.param("cuda", "fp32", marks=pytest.mark.gpu),
    pytest.param("cuda", "bf16", marks=pytest.mark.gpu),
]  # fmt: skip


@pytest.mark.parametrize(("device", "precision"), DEVICES)
@pytest.mark.parametrize("limits", [{"top_k": 3}, {"threshold": 0.4}, {"top_k": 2, "threshold": 0}])
def test_lists_are_the_same(device, precision, limits) -> None:
    enroll, test = tables()
    (expected,) = select_dense(enroll, test, **limits)
    (found,) = select_dense(enroll, test, **limits, gemm=in_torch(device, precision))
    np.testing.assert_array_equal(found.enroll, expected.enroll)
    np.testing.assert_array_equal(found.test, expected.test)
    np.testing.assert_array_equal(found.score, expected.score)


@pytest.mark.parametrize(("device", "precision"), DEVICES)
def test_arrays_are_within_the_rounding(device, precision) -> None:
    enroll, test = tables()
    gemm = in_torch(device, precision)
    (exact,) = (scores.copy() for _, scores in iterate_dense(enroll, test))
    (found,) = (scores.copy() for _, scores in iterate_dense(enroll, test, gemm=gemm))
    assert np.abs(found - exact).max() <= gemm.rounding
    assert gemm.rounding == IN_NUMPY.rounding or precision == "bf16"
