"""Loss and gradient against values recorded with the code of other projects."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sv_cli.losses.margin import AamSoftmax, AmSoftmax
from sv_cli.losses.protocol import SpeakerLoss
from sv_cli.losses.sphere import SphereFace2

GOLDEN = Path(__file__).parent.parent / "golden" / "losses"
RECORDED = [
    record
    for name in ("wespeaker", "3ds", "small")
    for record in json.loads((GOLDEN / f"{name}.json").read_text())
]


def make_loss(record: dict[str, Any]) -> SpeakerLoss:
    params = dict(record["params"])
    note, bias = params.pop("note", ""), params.pop("bias", None)
    dims = (record["dim"], record["classes"])
    if record["name"] == "sphereface2":
        loss = SphereFace2(
            *dims,
            scale=params["scale"],
            margin=params["margin"],
            margin_type=params["margin_type"],
            power=params["t"],
            target_weight=params["lanbuda"],
        )
        torch.nn.init.constant_(loss.bias, bias)
        return loss
    if record["name"].startswith("aam"):
        return AamSoftmax(*dims, fallback="classic" if note else "wespeaker", **params)
    return AmSoftmax(*dims, **params)


@pytest.mark.parametrize(
    "record", RECORDED, ids=lambda r: f"{r['peer'][:5]}-{r['name']}-{r['seed']}"
)
def test_recorded(record: dict[str, Any]) -> None:
    draw = np.random.Generator(np.random.PCG64(record["seed"]))
    x = torch.from_numpy(draw.standard_normal((record["batch"], record["dim"])) * 3)
    rows = record["classes"] * record["subcenters"]
    weight = torch.from_numpy(draw.standard_normal((rows, record["dim"])))
    labels = torch.from_numpy(draw.integers(0, record["classes"], record["batch"]))
    loss = make_loss(record).double()
    loss.weight.data.copy_(weight)  # type: ignore[union-attr, operator]
    x.requires_grad_()
    value, cosine = loss(x, labels)
    value.backward()
    in_float32 = record["peer"] == "matln/speaker-net" and record["name"].startswith("aam")
    rtol = 1e-5 if in_float32 else 1e-6
    assert value.item() == pytest.approx(record["loss"], rel=rtol)
    assert x.grad is not None
    assert x.grad.norm().item() == pytest.approx(record["grad_norm"], rel=rtol)
    largest = max(map(abs, record["grad_row0"]))
    np.testing.assert_allclose(x.grad[0].numpy(), record["grad_row0"], rtol=0, atol=rtol * largest)
    assert cosine.shape == (record["batch"], record["classes"])
    assert cosine.abs().max() <= 1 + 1e-12 and not cosine.requires_grad


def closed_form(subcenters: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    i, j = np.arange(4.0)[:, None], np.arange(6.0)[None]
    n = np.arange(5.0 * subcenters)[:, None]
    x = torch.from_numpy(np.sin(0.7 * i + 0.3 * j + 1))
    weight = torch.from_numpy(np.cos(0.5 * n - 0.8 * j + 0.13 * n * j))
    return x, weight, torch.tensor([0, 3, 2, 4])


INTERTOPK = {"subcenters": 3, "topk": 2, "topk_margin": 0.06}


@pytest.mark.parametrize(
    ("cls", "options", "expected"),
    [
        (AmSoftmax, {}, (37.76981247, 34.26981250, 30.77680640)),
        (AamSoftmax, {}, (36.38274765, 33.57627869, 30.77542114)),
        (AamSoftmax, {"margin": 0.5}, (44.27070236, 37.52025986, 30.78330040)),
        (AmSoftmax, {"subcenters": 3}, (18.58893251, 15.09143596, 11.67436228)),
        (AmSoftmax, INTERTOPK, (20.68876999, 16.13968972, 11.67630782)),
        (AamSoftmax, INTERTOPK, (17.39885139, 14.50236416, 11.67336464)),
    ],
)
def test_annealed_margins_of_speaker_net(
    cls: type[AmSoftmax], options: dict[str, Any], expected: tuple[float, ...]
) -> None:
    loss = cls(6, 5, scale=35.0, **options).double()
    x, weight, labels = closed_form(loss.settings.subcenters)
    loss.weight.data.copy_(weight)
    for annealing, value in zip((0.0, 1.0, 1000.0), expected, strict=True):
        loss.annealing = annealing
        assert loss(x, labels)[0].item() == pytest.approx(value, rel=1e-6)


def test_classic_fallback_of_tao_and_voxceleb_trainer() -> None:
    x, weight, labels = closed_form(1)
    loss = AamSoftmax(6, 5, scale=30.0, fallback="classic").double()
    loss.weight.data.copy_(weight)
    assert math.isclose(loss(x, labels)[0].item(), 31.23005259766593, rel_tol=1e-9)
    loss.margin = 0.5
    assert math.isclose(loss(x, labels)[0].item(), 37.991159307029996, rel_tol=1e-9)
