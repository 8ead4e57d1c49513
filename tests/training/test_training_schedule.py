"""Learning rates at points that WeSpeaker's schedule prints."""

import pytest

from sv_cli.training.schedule import learning_rate
from sv_cli.training.settings import ScheduleSettings


@pytest.mark.parametrize(
    ("epoch", "expected"),
    [(0, 0.0), (6, 0.295), (20, 0.145), (40, 0.0527), (100, 0.00252), (150, 2e-4)],
)
def test_exponential_decrease_of_the_voxceleb_recipe(epoch: int, expected: float) -> None:
    """0.1 -> 5e-5 in 150 epochs, warm-up of 6, times 4 for two GPUs of batch 128."""
    settings = ScheduleSettings(lr=0.4, final_lr=2e-4, warmup_epochs=6)
    steps = 1000
    rate = learning_rate(epoch * steps, settings, steps_per_epoch=steps, num_steps=150 * steps)
    assert rate == pytest.approx(expected, rel=5e-3)


def test_cosine_ends_where_it_should() -> None:
    settings = ScheduleSettings(shape="cosine", lr=0.2, final_lr=5e-5, warmup_epochs=1)
    rate = lambda step: learning_rate(step, settings, steps_per_epoch=10, num_steps=100)  # noqa: E731
    assert rate(5) == pytest.approx(0.1)
    assert rate(10) == pytest.approx(0.2)
    assert rate(55) == pytest.approx((0.2 + 5e-5) / 2)
    assert rate(100) == pytest.approx(5e-5)
