"""Low-rank pairs: where they begin, what learns, that their sum is the network, what is refused."""

from copy import deepcopy
from typing import Any

import pytest
import torch
from ssl_sizes import TINY, skip_without_extras
from torch import Tensor, nn

from sv_cli.errors import SettingsError
from sv_cli.models.lora import (
    LoraLinear,
    LoraSettings,
    add_lora,
    count_pairs,
    is_pair,
    merge_lora,
    without_pairs,
)
from sv_cli.models.protocol import SpeakerEncoder
from sv_cli.models.registry import build_model

NAME = "w2vbert2_mfa"
PLAIN = TINY[NAME]
LORA: dict[str, Any] = {**PLAIN, "lora": {"rank": 4, "alpha": 8.0}}


def build(options: dict[str, Any]) -> SpeakerEncoder:
    skip_without_extras(NAME)
    torch.manual_seed(1)
    return build_model(NAME, **options).eval()


def feats() -> Tensor:
    return torch.randn(3, 60, 80, generator=torch.Generator().manual_seed(2))


def learn_something(encoder: nn.Module) -> None:
    generator = torch.Generator().manual_seed(3)
    for key, value in encoder.state_dict().items():
        if is_pair(key):
            value.normal_(0.0, 0.2, generator=generator)


@pytest.mark.parametrize("bias", [True, False])
def test_a_layer_adds_the_product_of_its_pair(bias: bool) -> None:
    layer = nn.Linear(6, 5, bias=bias)
    pair = LoraLinear(layer, LoraSettings(rank=2, alpha=3.0))
    x = torch.randn(4, 7, 6)
    assert torch.equal(pair(x), layer(x))
    assert pair.weight is layer.weight and pair.bias is layer.bias
    learn_something(nn.ModuleDict({"q": pair}))
    added = x @ pair.lora_A.weight.T @ pair.lora_B.weight.T
    wanted = layer(x) + 1.5 * added
    torch.testing.assert_close(pair(x), wanted)
    whole = nn.ModuleDict({"q": layer})
    merged = merge_lora(nn.ModuleDict({"q": pair}).state_dict(), scale=1.5)
    assert merged.keys() == whole.state_dict().keys()
    whole.load_state_dict(merged)
    torch.testing.assert_close(layer(x), wanted)


def test_a_begins_uniform_within_the_bound_of_its_inputs() -> None:
    """Kaiming-uniform with slope sqrt(5): the variance is a third of the inverse of the inputs."""
    torch.manual_seed(0)
    pair = LoraLinear(nn.Linear(256, 8), LoraSettings(rank=64))
    begun = pair.lora_A.weight.detach()
    assert begun.abs().max() <= 1 / 16
    assert float(begun.var()) == pytest.approx(1 / (3 * 256), rel=0.05)
    assert not pair.lora_B.weight.any()


def test_a_network_with_pairs_begins_as_the_one_without() -> None:
    plain, lora = build(PLAIN), build(LORA)
    assert torch.equal(plain(feats()), lora(feats()))
    left = {key: value for key, value in lora.state_dict().items() if not is_pair(key)}
    assert left.keys() == plain.state_dict().keys()
    assert count_pairs(lora.state_dict()) == 2 * PLAIN["num_layers"]


def test_only_pairs_and_back_end_learn_and_decay() -> None:
    encoder = build(LORA).train()
    before = deepcopy(encoder.state_dict())
    optimizer = torch.optim.AdamW(encoder.parameters(), lr=0.01, weight_decay=0.5)
    for _ in range(2):  # the first leaves A: B is zero
        optimizer.zero_grad()
        encoder(feats()).square().sum().backward()
        optimizer.step()
    moved = {key for key, value in encoder.state_dict().items() if not value.equal(before[key])}
    learns = {key for key, p in encoder.named_parameters() if p.requires_grad}
    assert learns == {key for key in before if is_pair(key)} | {
        f"head.{key}" for key, _ in encoder.head.named_parameters()
    }
    assert learns <= moved
    assert all(key.startswith("head.") for key in moved - learns)  # statistics
    assert all(p.grad is not None for p in encoder.parameters() if p.requires_grad)


def test_embeddings_of_the_sum_are_those_of_the_pairs() -> None:
    lora, plain = build(LORA), build(PLAIN)
    untouched = lora(feats())
    learn_something(lora)
    wanted = lora(feats())
    assert (wanted - untouched).abs().max() > 0.01 * untouched.abs().max()
    options, weights = without_pairs(LORA, lora.state_dict())
    assert options == PLAIN
    plain.load_state_dict(weights)
    assert (plain(feats()) - wanted).abs().max() <= 1e-5 * wanted.abs().max()
    assert all(parameter.requires_grad for parameter in build(options).parameters())


def test_without_pairs_nothing_changes() -> None:
    weights = {"q.weight": torch.eye(2)}
    assert without_pairs({"channels": 8}, weights) == ({"channels": 8}, weights)
    assert without_pairs({"lora": {"rank": 0}}, weights) == ({}, weights)


def test_copies_have_pairs_of_their_own() -> None:
    lora = build(LORA)
    copied = deepcopy(lora)
    learn_something(lora)
    assert torch.equal(copied(feats()), build(LORA)(feats()))


def test_the_dropout_is_that_of_training() -> None:
    layer = LoraLinear(nn.Linear(6, 5), LoraSettings(rank=2, dropout=0.5))
    learn_something(nn.ModuleDict({"q": layer}))
    x = torch.randn(4, 6)
    assert torch.equal(layer.eval()(x), layer(x))
    assert not torch.equal(layer.train()(x), layer(x))


def test_the_base_is_in_training_mode() -> None:
    """Its dropout is on, as in the source."""
    encoder = build(LORA).train()
    assert all(module.training for module in encoder.modules())


def test_other_layers_may_get_pairs() -> None:
    network = nn.ModuleDict({"one": nn.Linear(4, 4), "two": nn.Sequential(nn.Linear(4, 2))})
    assert add_lora(network, LoraSettings(rank=1, targets=("0", "one"))) == 2
    assert not network["one"].weight.requires_grad
    assert count_pairs(network.state_dict()) == 2


@pytest.mark.parametrize(
    ("name", "changes", "words"),
    [
        (NAME, {"lora": {"rank": 4, "targets": ["liner_q"]}}, "did you mean `linear_q`"),
        (NAME, {"lora": {"rank": 4}, "frozen": True}, "excludes `frozen`"),
        (NAME, {"lora": {"rank": -1}}, "lora.rank"),
        (NAME, {"lora": {"rnk": 4}}, "did you mean `rank`"),
        ("wavlm_base", {"lora": {"rank": 4}}, "`lora`: unknown setting"),
    ],
)
def test_what_does_not_go_together_is_refused(
    name: str, changes: dict[str, Any], words: str
) -> None:
    skip_without_extras(name)
    with pytest.raises(SettingsError, match=words):
        build_model(name, **{**TINY[name], **changes})
