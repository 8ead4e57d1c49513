"""Learning rates and margins at the points that the specifications of the seeds print."""

import pytest
import torch
from pydantic import ValidationError

from sv_cli.errors import SettingsError
from sv_cli.losses.margin_schedule import MarginSchedule
from sv_cli.settings.model import build_settings
from sv_cli.training.schedule import LearningRate
from sv_cli.training.settings import LossSettings, ScheduleSettings

STEPS = 1000


def rate(epoch: float, settings: ScheduleSettings, *, epochs: int, batch_total: int = 0) -> float:
    schedule = LearningRate(settings, STEPS, epochs * STEPS, batch_total)
    return schedule.value(round(epoch * STEPS))


@pytest.mark.parametrize(
    ("epoch", "expected"),
    [(0, 0.0), (6, 0.295), (20, 0.145), (40, 0.0527), (100, 0.00252), (150, 2e-4)],
)
def test_wespeaker_scales_by_the_batch_of_all_processes(epoch: int, expected: float) -> None:
    """0.1 -> 5e-5 in 150 epochs, warm-up of 6, two GPUs of batch 128 against 64."""
    settings = ScheduleSettings(lr=0.1, final_lr=5e-5, warmup_epochs=6, reference_batch=64)
    assert rate(epoch, settings, epochs=150, batch_total=256) == pytest.approx(expected, rel=5e-3)


def test_wespeaker_without_a_start_from_zero() -> None:
    """k = 1 + (R - 1) t / W during the warm-up, R after it."""
    settings = ScheduleSettings(
        lr=0.1, final_lr=0.1, warmup_epochs=4, warmup_from="unscaled", reference_batch=64
    )
    rates = [rate(epoch, settings, epochs=10, batch_total=256) for epoch in (0, 2, 4, 9)]
    assert rates == pytest.approx([0.1, 0.25, 0.4, 0.4])


@pytest.mark.parametrize(
    ("epoch", "expected"),
    [(0, 5e-5), (1, 0.04004), (5, 0.2), (20, 0.174857), (37.5, 0.100025), (50, 0.043233),
     (70, 5e-5)],
)  # fmt: skip
def test_3d_speaker_warms_up_from_the_lowest_rate(epoch: float, expected: float) -> None:
    settings = ScheduleSettings(
        shape="cosine", lr=0.2, final_lr=5e-5, warmup_epochs=5, warmup_from="final"
    )
    assert rate(epoch, settings, epochs=70) == pytest.approx(expected, rel=1e-5)


def test_cosine_from_zero_ends_where_it_should_and_stays() -> None:
    settings = ScheduleSettings(
        shape="cosine", lr=0.2, final_lr=5e-5, warmup_epochs=1, end_epoch=10
    )
    rates = [rate(epoch, settings, epochs=12) for epoch in (0.5, 1, 5.5, 10, 11.5)]
    assert rates == pytest.approx([0.1, 0.2, (0.2 + 5e-5) / 2, 5e-5, 5e-5])


@pytest.mark.parametrize(("epoch", "expected"), [(1, 1e-3), (2, 9.7e-4), (80, 9.0e-5)])
def test_taoruijie_falls_every_epoch(epoch: int, expected: float) -> None:
    """lr_e = 1e-3 x 0.97^(e - 1), epochs counted from 1."""
    settings = ScheduleSettings(shape="step", lr=1e-3, gamma=0.97, warmup_epochs=0)
    assert rate(epoch - 1, settings, epochs=80) == pytest.approx(expected, rel=5e-3)
    assert rate(epoch - 1, settings, epochs=80) == 1e-3 * 0.97 ** (epoch - 1)


def test_speaker_net_falls_at_chosen_epochs() -> None:
    """0.02 for one GPU of batch 256, doubled for two; a tenth after epochs 15, 25 and 35."""
    settings = ScheduleSettings(
        shape="step", lr=0.02, gamma=0.1, fall_epochs=(15, 25, 35), warmup_epochs=1,
        reference_batch=256,
    )  # fmt: skip
    points = {0: 0.0, 0.5: 0.02, 1: 0.04, 14.999: 0.04, 15: 0.004, 25: 4e-4, 39: 4e-5}
    for epoch, expected in points.items():
        assert rate(epoch, settings, epochs=40, batch_total=512) == pytest.approx(expected)


def test_step_decay_of_w2v_bert_counts_from_the_end_of_the_warmup() -> None:
    """lr (t + 1) / (W + 1), then gamma^floor((t - W) / decay); W and decay of 5 epochs."""
    settings = ScheduleSettings(
        shape="step", lr=1e-4, gamma=0.1, every_epochs=5, warmup_epochs=5, warmup_from="first_step"
    )
    points = {0: 1e-4 / 5001, 2: 1e-4 * 2001 / 5001, 5: 1e-4, 9.999: 1e-4, 10: 1e-5, 14.9: 1e-5}
    for epoch, expected in points.items():
        assert rate(epoch, settings, epochs=15) == pytest.approx(expected)


def test_triangular_is_torch_s_triangular2() -> None:
    settings = ScheduleSettings(
        shape="triangular", lr=2e-3, final_lr=2e-8, every_epochs=2, warmup_epochs=0
    )
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    peer = torch.optim.lr_scheduler.CyclicLR(
        optimizer, 2e-8, 2e-3, step_size_up=20, mode="triangular2", cycle_momentum=False
    )
    ours = LearningRate(settings, 10, 120)
    for step in range(120):
        assert ours.value(step) == pytest.approx(peer.get_last_lr()[0], abs=1e-12)
        optimizer.step()
        peer.step()


def test_constant_warms_up() -> None:
    settings = ScheduleSettings(shape="constant", lr=0.3, warmup_epochs=2)
    rates = [rate(epoch, settings, epochs=5) for epoch in (0, 1, 2, 4)]
    assert rates == pytest.approx([0, 0.15, 0.3, 0.3])


@pytest.mark.parametrize(
    ("done", "expected"),
    [(20, 0.058), (21, 0.0998), (22, 0.129), (24, 0.164), (30, 0.1955), (40, 0.2), (19, 0.0)],
)
def test_margin_of_wespeaker(done: int, expected: float) -> None:
    """0 -> 0.2 over epochs 20 to 40, which begins after 19."""
    margin = MarginSchedule(0.0, 0.2, 19 * STEPS, 39 * STEPS)
    assert margin.value(done * STEPS) == pytest.approx(expected, abs=5e-4)


@pytest.mark.parametrize(
    ("done", "expected"),
    [(21, 0.0617), (23, 0.1496), (25, 0.2051), (30, 0.270), (35, 0.2905), (45, 0.2991), (50, 0.3)],
)
def test_margin_of_3d_speaker(done: int, expected: float) -> None:
    margin = MarginSchedule(0.0, 0.3, 20 * STEPS, 50 * STEPS)
    assert margin.value(done * STEPS) == pytest.approx(expected, abs=5e-5)


def test_linear_margin() -> None:
    margin = MarginSchedule(0.1, 0.3, 100, 300, shape="linear")
    assert [margin.value(step) for step in (0, 100, 150, 200, 300, 400)] == pytest.approx(
        [0.1, 0.1, 0.15, 0.2, 0.3, 0.3]
    )


def test_unknown_shapes_are_refused() -> None:
    with pytest.raises(SettingsError, match="shape"):
        build_settings(ScheduleSettings, {"shape": "plateau"})


def test_a_margin_that_ends_before_it_begins_is_refused() -> None:
    with pytest.raises(ValidationError, match="`rise_end_epoch` is before `rise_start_epoch`"):
        LossSettings(rise_start_epoch=3, rise_end_epoch=2)
    LossSettings(rise_start_epoch=2, rise_end_epoch=2)
    LossSettings(rise_start_epoch=2, rise_end_epoch=0)  # the margin stands from the start
