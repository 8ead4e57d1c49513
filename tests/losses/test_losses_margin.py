import math
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch.nn import functional

from sv_cli.errors import SettingsError
from sv_cli.losses.hyperbolic import HyperbolicSoftmax
from sv_cli.losses.margin import AamSoftmax
from sv_cli.losses.margin_schedule import AnnealingSchedule, MarginSchedule
from sv_cli.losses.registry import LOSSES, build_loss, find_loss
from sv_cli.losses.softmax import Softmax
from sv_cli.losses.sphere import ASoftmax, fall


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_every_loss_trains(name: str, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    loss = build_loss(name, embedding_dim=16, num_classes=12, scale=20.0, margin=0.1)
    loss.margin = 0.2
    x = torch.randn(6, 16).to(dtype).requires_grad_()
    labels = torch.arange(6)
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
        value, cosine = loss(x, labels)
    assert value.dtype == cosine.dtype == torch.float32
    assert value.shape == () and cosine.shape == (6, 12)
    value.backward()
    assert x.grad is not None and x.grad.isfinite().all()
    for parameter in loss.parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all()


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_cosine_exactly_one_keeps_the_gradient(name: str, sign: float) -> None:
    loss = build_loss(name, embedding_dim=4, num_classes=8)
    x = torch.tensor([[2.0, 0.0, 0.0, 0.0]] * 4, requires_grad=True)
    weight = next(loss.parameters())
    with torch.no_grad():
        weight.copy_(torch.eye(4).mul(sign).repeat(weight.numel() // 16, 1).view_as(weight))
    value, _ = loss(x, torch.tensor([0, 1, 2, 3]))
    value.backward()
    assert value.isfinite()
    assert x.grad is not None and x.grad.isfinite().all()
    assert weight.grad is not None and weight.grad.isfinite().all()


def test_softmax_with_label_smoothing() -> None:
    # The closed form of the recorded AAM values, as a linear layer without bias.
    i, j, n = torch.arange(4.0)[:, None], torch.arange(6.0)[None], torch.arange(5.0)[:, None]
    loss = Softmax(6, 5, label_smoothing=0.1).double()
    linear = loss.trans[0]
    with torch.no_grad():
        linear.weight.copy_(torch.cos(0.5 * n.double() - 0.8 * j.double() + 0.13 * n * j))
        linear.bias.zero_()
    x = torch.sin(0.7 * i.double() + 0.3 * j.double() + 1)
    value, _ = loss(x, torch.tensor([0, 3, 2, 4]))
    assert value.item() == pytest.approx(3.0845108549907154, rel=1e-6)


def test_plain_softmax_when_there_is_no_margin() -> None:
    torch.manual_seed(0)
    loss = AamSoftmax(8, 5, margin=0.0, scale=10.0)
    x, labels = torch.randn(3, 8), torch.tensor([0, 1, 4])
    value, cosine = loss(x, labels)
    torch.testing.assert_close(value, functional.cross_entropy(10.0 * cosine, labels))


def test_target_logit_falls_with_the_angle_at_any_margin() -> None:
    angles = torch.linspace(0, math.pi, 500, dtype=torch.float64)
    for fallback in ("wespeaker", "classic"):
        loss = AamSoftmax(2, 2, margin=0.5, fallback=fallback)
        penalised = loss.penalise(angles.cos())
        slack = 1e-12 if fallback == "classic" else 0.4  # WeSpeaker's jumps up at π - m
        assert (penalised.diff() < slack).all()


def test_intertopk_margin_may_follow_the_margin() -> None:
    loss = build_loss("aam_intertopk_subcenter", embedding_dim=4, num_classes=9)
    fixed = AamSoftmax(4, 9, subcenters=3, topk=5, topk_margin=0.15, margin=0.5)
    x, labels = torch.randn(3, 4), torch.tensor([0, 1, 4])
    fixed.load_state_dict(loss.state_dict())
    loss.margin = 0.5
    torch.testing.assert_close(loss(x, labels)[0], fixed(x, labels)[0])


def test_easy_margin_leaves_far_embeddings_alone() -> None:
    loss = AamSoftmax(2, 2, easy_margin=True)
    c = torch.tensor([-0.5, 0.5])
    expected = torch.tensor([-0.5, math.cos(math.acos(0.5) + 0.2)])
    torch.testing.assert_close(loss.penalise(c), expected)


def test_a_softmax_falls_and_counts_its_steps() -> None:
    angles = torch.linspace(1e-3, math.pi - 1e-3, 200, dtype=torch.float64)
    expected = [
        (-1.0) ** (4 * a // math.pi) * math.cos(4 * a) - 2 * (4 * a // math.pi)
        for a in angles.tolist()
    ]
    torch.testing.assert_close(fall(angles.cos()), torch.tensor(expected, dtype=torch.float64))
    assert (fall(angles.cos()).diff() < 0).all()
    loss = ASoftmax(4, 3)
    loss(torch.randn(2, 4), torch.tensor([0, 1]))
    loss.eval()(torch.randn(2, 4), torch.tensor([0, 1]))
    assert loss.state_dict()["num_steps"] == 1


def test_ham_is_the_distance_of_the_poincare_ball() -> None:
    generator = torch.Generator().manual_seed(3)
    x = 0.2 * torch.randn(3, 6, generator=generator, dtype=torch.float64)
    x[0] *= 20.0  # outside of the ball
    loss = HyperbolicSoftmax(6, 5, scale=30.0, margin=0.2, curvature=3.0).double()
    with torch.no_grad():
        loss.weight.normal_(0.0, 0.15, generator=generator)
        loss.weight[1] *= 10.0
    labels = torch.tensor([4, 1, 2])
    value, similarity = loss(x, labels)

    def inside(row: torch.Tensor) -> list[float]:
        norm, radius = math.sqrt(sum(v * v for v in row.tolist())), (1 - 1e-5) / math.sqrt(3)
        return [v * min(1.0, radius / norm) for v in row.tolist()]

    def distance(a: list[float], b: list[float]) -> float:
        length = lambda values: sum(v * v for v in values)  # noqa: E731
        apart = length([p - q for p, q in zip(a, b, strict=True)])
        return math.acosh(1 + 2 * apart / ((1 - length(a)) * (1 - length(b))))

    expected = 0.0
    for i, label in enumerate(labels.tolist()):
        d = [distance(inside(x[i]), inside(row)) for row in loss.weight.detach()]
        assert (-similarity[i]).tolist() == pytest.approx(d, rel=1e-9)
        logits = [-30.0 * (v + 0.2 * (j == label)) for j, v in enumerate(d)]
        expected += math.log(sum(math.exp(v - logits[label]) for v in logits)) / 3
    assert value.item() == pytest.approx(expected, rel=1e-9)


def test_options_and_names_are_checked() -> None:
    assert find_loss("AAM") == "aam"
    with pytest.raises(SettingsError, match="did you mean `aam`"):
        find_loss("aamm")
    with pytest.raises(SettingsError, match=r"`subcentres`.*did you mean `subcenters`"):
        build_loss("am", embedding_dim=4, num_classes=3, subcentres=2)
    with pytest.raises(SettingsError, match="topk 5 needs more than 4 classes"):
        build_loss("am_intertopk_subcenter", embedding_dim=4, num_classes=4)


def test_common_options_pass_over_a_loss_without_them() -> None:
    build_loss("softmax", embedding_dim=4, num_classes=3, scale=3.0, margin=1.0, easy_margin=False)


@pytest.mark.parametrize(
    ("epochs_done", "margin"),
    [(19, 0.0), (20, 0.058), (21, 0.0998), (22, 0.129), (24, 0.164), (30, 0.1955), (39, 0.2)],
)
def test_wespeaker_schedule(epochs_done: int, margin: float) -> None:
    schedule = MarginSchedule(0.0, 0.2, start_step=19 * 100, end_step=39 * 100)
    assert schedule.value(epochs_done * 100) == pytest.approx(margin, abs=6e-4)


@pytest.mark.parametrize(
    ("epochs_done", "margin"),
    [(0, 0.0), (21, 0.0617), (23, 0.1496), (25, 0.2051), (30, 0.270), (35, 0.2905), (45, 0.2991)],
)
def test_threed_speaker_schedule(epochs_done: int, margin: float) -> None:
    schedule = MarginSchedule(0.0, 0.3, start_step=20, end_step=50)
    assert schedule.value(epochs_done) == pytest.approx(margin, abs=6e-4)


def test_linear_schedule_and_one_without_a_rise() -> None:
    schedule = MarginSchedule(0.1, 0.3, start_step=10, end_step=20, shape="linear")
    values = [schedule.value(step) for step in range(30)]
    assert values[0] == 0.1 and values[15] == pytest.approx(0.2) and values[29] == 0.3
    assert all(before <= after for before, after in pairwise(values))
    assert MarginSchedule(0.0, 0.2, start_step=0, end_step=0).value(0) == 0.2


@pytest.mark.parametrize(("step", "share"), [(0, 0.001), (20191, 0.2), (29811, 0.5)])
def test_annealing_of_speaker_net(step: int, share: float) -> None:
    schedule: Any = AnnealingSchedule(start_step=500)
    assert schedule.value(step + 500) == pytest.approx(1 / share - 1, rel=5e-3)
    assert schedule.value(0) == 1000.0
