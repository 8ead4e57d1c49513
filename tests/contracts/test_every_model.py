"""What holds for every network of the registry; a new entry is held to it without being named here.

By default the smallest network of each family and project, and small copies of the self-supervised
ones; `-m slow` runs all.
"""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from drawn_models import draw_weights, smallest
from ssl_sizes import SAMPLES_A_STEP, TINY, skip_without_extras
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from sv_cli.errors import SettingsError, ShapeError
from sv_cli.features.settings import FRONTENDS
from sv_cli.models.protocol import SpeakerEncoder
from sv_cli.models.registry import ALIASES, FAMILIES, MODELS, build_model, find_model

KEYS = Path(__file__).parent / "model_keys.json"
# Largest relative change by another memory layout (another order of float32 sums), and lowest
# cosine of bf16 (weights float32, channels last, autocast) to float32 embeddings.
USUAL_LIMITS = (2e-5, 0.9999)
# 58 M parameters in 28 blocks of three branches each: every sum loses more.
OTHER_LIMITS = {"speaker_net_repvgg_b1": (1e-4, 0.999)}

SMALLEST = smallest()
EVERY = list(MODELS)
USUAL = [name if name in SMALLEST else pytest.param(name, marks=pytest.mark.slow) for name in EVERY]
SMALL_COPY = " (small)"


def build(param: str) -> SpeakerEncoder:
    """Build a network by name, or its small copy."""
    name = param.removesuffix(SMALL_COPY)
    skip_without_extras(name)
    return build_model(name, **(TINY[name] if param.endswith(SMALL_COPY) else {}))


def frames_of(encoder: SpeakerEncoder, more: int) -> int:
    """Return the shortest length and `more` frames; those of a waveform front-end are samples."""
    return encoder.min_frames + more * (SAMPLES_A_STEP if encoder.feat_dim == 1 else 1)


def draw_feats(encoder: SpeakerEncoder, batch: int, frames: int, seed: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    if encoder.feat_dim == 1:
        return 0.1 * torch.randn(batch, frames, 1, generator=generator)
    noise = torch.randn(batch, frames, encoder.feat_dim, generator=generator)
    return noise + 2.0 * torch.randn(batch, 1, encoder.feat_dim, generator=generator)


@pytest.fixture(scope="module", params=[*USUAL, *(name + SMALL_COPY for name in TINY)])
def encoder(request: pytest.FixtureRequest) -> Iterator[SpeakerEncoder]:
    yield draw_weights(build(request.param))


@pytest.mark.parametrize("name", EVERY)
def test_entry_tells_the_truth(name: str) -> None:
    skip_without_extras(name)
    entry = MODELS[name]
    with torch.device("meta"):
        encoder = build_model(name)
    assert sum(p.numel() for p in encoder.parameters()) == entry.parameters
    assert encoder.embedding_dim == entry.embedding_dim
    assert entry.family in FAMILIES and entry.url.startswith("https://")
    lines = sorted(f"{key} {list(value.shape)}" for key, value in encoder.state_dict().items())
    digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]
    pinned = json.loads(KEYS.read_text()).get(name)
    assert digest == pinned, f"state-dict keys of {name} are not those pinned in {KEYS.name}"


def test_front_ends_are_known_and_of_the_right_size() -> None:
    with torch.device("meta"):
        sizes = {name: build_model(name).feat_dim for name in {*SMALLEST, "wavlm_base"}}
    unfit = [
        name
        for name, size in sizes.items()
        if MODELS[name].frontend not in FRONTENDS
        or FRONTENDS[MODELS[name].frontend].feat_dim != size
    ]
    assert not unfit


@pytest.mark.parametrize("name", USUAL)
def test_multiply_accumulates(name: str) -> None:
    skip_without_extras(name)
    with torch.device("meta"):
        encoder = build_model(name).eval()
        frames = 32000 if encoder.feat_dim == 1 else 200
        feats = torch.zeros(1, frames, encoder.feat_dim)
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            embeddings = encoder(feats)
    assert embeddings.shape == (1, encoder.embedding_dim)
    assert counter.get_total_flops() / 2e9 == pytest.approx(MODELS[name].macs, rel=0.01)


def test_no_pins_or_aliases_of_networks_that_are_gone() -> None:
    assert json.loads(KEYS.read_text()).keys() == MODELS.keys()
    assert set(ALIASES.values()) <= MODELS.keys()


def test_unknown_name_suggests_the_nearest() -> None:
    assert find_model("ERes2Net-Base") == "eres2net_base"
    with pytest.raises(SettingsError, match="did you mean `eres2net_base`"):
        find_model("eres2nt-base")


def test_unknown_and_wrong_settings_are_told() -> None:
    with pytest.raises(SettingsError, match="did you mean `embedding_dim`"):
        build_model("resnet18", embeding_dim=3)
    with pytest.raises(SettingsError, match="pooling"):
        build_model("resnet18", pooling="TSTPP")


def test_batch_is_its_single_utterances(encoder: SpeakerEncoder) -> None:
    feats = draw_feats(encoder, 3, frames_of(encoder, 50))
    with torch.inference_mode():
        together = encoder(feats)
        singles = torch.cat([encoder(feats[i : i + 1]) for i in range(3)])
        again = encoder(feats)
    assert together.shape == (3, encoder.embedding_dim)
    assert (together - singles).abs().max() <= 2e-5 * singles.abs().max()
    assert torch.equal(together, again)


def test_shortest_length(encoder: SpeakerEncoder) -> None:
    with torch.inference_mode():
        assert encoder(draw_feats(encoder, 2, encoder.min_frames)).isfinite().all()
        with pytest.raises(ShapeError, match="too few"):
            encoder(draw_feats(encoder, 2, encoder.min_frames - 1))


def test_other_feature_size_is_refused(encoder: SpeakerEncoder) -> None:
    with pytest.raises(ShapeError, match=f"frames, {encoder.feat_dim}"):
        encoder(torch.zeros(1, 100, encoder.feat_dim - 1))


def test_bf16_channels_last_keeps_the_direction(
    encoder: SpeakerEncoder, request: pytest.FixtureRequest
) -> None:
    name = request.node.callspec.params["encoder"]
    tolerance, lowest_cosine = OTHER_LIMITS.get(name, USUAL_LIMITS)
    feats = draw_feats(encoder, 2, frames_of(encoder, 100))
    with torch.no_grad():
        expected = encoder(feats)
        encoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        exact = encoder(feats)
        with torch.autocast("cpu", torch.bfloat16):
            got = encoder(feats).float()
    assert (exact - expected).abs().max() <= tolerance * expected.abs().max()
    assert functional.cosine_similarity(got, expected).min() >= lowest_cosine


def test_backward_reaches_every_parameter(encoder: SpeakerEncoder) -> None:
    encoder.train()
    encoder(draw_feats(encoder, 3, frames_of(encoder, 20))).square().sum().backward()
    unreached = [
        key
        for key, parameter in encoder.named_parameters()
        if parameter.requires_grad
        and (parameter.grad is None or not parameter.grad.isfinite().all())
    ]
    encoder.zero_grad(set_to_none=True)
    encoder.eval()
    assert not unreached
