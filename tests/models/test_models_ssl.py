"""Learned front-ends: states, shares, back-ends, what is frozen, and what is refused."""

import sys

import pytest
import torch
from drawn_models import draw_weights
from ssl_sizes import TINY, skip_without_extras
from torch.nn import functional

from sv_cli.errors import SettingsError, SvError
from sv_cli.features.fbank import num_frames
from sv_cli.features.frontend import Frontend
from sv_cli.features.settings import FRONTENDS, FrontendSettings
from sv_cli.models.registry import MODELS, build_model
from sv_cli.models.ssl_wavlm import WavLm, WavLmSettings, normalize_waveforms, repeat_last
from sv_cli.settings.model import build_settings

# Sizes of the front-ends and of what is behind them, as WeSpeaker's recipes have them.
COUNTS = {"wavlm_large": (315_452_096, 8_607_360), "w2vbert2_mfa": (580_492_096, 6_160_640)}


def waveforms(batch: int = 2, num_samples: int = 8000) -> torch.Tensor:
    return 0.1 * torch.randn(batch, num_samples, 1, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("name", COUNTS)
def test_counts_of_front_end_and_back_end(name: str) -> None:
    skip_without_extras(name)
    with torch.device("meta"):
        encoder = build_model(name)
    frontend, backend = COUNTS[name]
    head = dict(encoder.head.named_parameters())
    head.pop("weights", None)
    assert sum(p.numel() for p in encoder.ssl.parameters()) == frontend
    assert sum(p.numel() for p in head.values()) == backend


def test_one_state_a_layer_and_one_before() -> None:
    settings = build_settings(WavLmSettings, TINY["wavlm_base"])
    ssl = WavLm(settings).eval()
    for num_steps in (1, 2, 7):
        shortest = ssl.num_inputs(num_steps)
        states = ssl(waveforms(1, shortest))
        assert [tuple(state.shape) for state in states] == [(1, num_steps, 32)] * 3
        assert ssl(waveforms(1, shortest + 319))[0].shape[1] == num_steps
    assert (ssl.num_inputs(1), ssl.num_inputs(2)) == (400, 720)


def test_shares_are_equal_at_first_and_follow_the_weights() -> None:
    encoder = build_model("wavlm_base", **{**TINY["wavlm_base"], "mean_norm": False})
    heard: list[torch.Tensor] = []
    encoder.head.network.register_forward_pre_hook(lambda _, inputs: heard.append(inputs[0]))
    encoder.eval()
    with torch.no_grad():
        states = torch.stack(encoder.ssl(waveforms()))
        encoder(waveforms())
        encoder.head.weights.copy_(torch.tensor([0.0, 50.0, 0.0]))
        encoder(waveforms())
    torch.testing.assert_close(heard[0], states.mean(dim=0))
    torch.testing.assert_close(heard[1], states[1])


def test_mean_over_time_is_taken_off() -> None:
    encoder = build_model("wavlm_base", **TINY["wavlm_base"]).eval()
    heard: list[torch.Tensor] = []
    encoder.head.network.register_forward_pre_hook(lambda _, inputs: heard.append(inputs[0]))
    encoder(waveforms())
    assert heard[0].mean(dim=1).abs().max() <= 1e-6 * heard[0].abs().max()
    assert encoder.min_frames == 720  # two steps


def test_normalised_waveforms_are_those_of_layer_norm() -> None:
    plain = waveforms()[..., 0] + 0.3
    wanted = functional.layer_norm(plain, plain.shape[1:])
    torch.testing.assert_close(normalize_waveforms(plain), wanted, rtol=1e-4, atol=1e-5)


def test_the_last_state_is_repeated() -> None:
    state = torch.arange(6.0).reshape(1, 3, 2)
    assert repeat_last(state, 5)[0, :, 0].tolist() == [0, 2, 4, 4, 4]
    assert torch.equal(repeat_last(state, 3), state)


@pytest.mark.parametrize("backend", ["xvector", "campplus", "resnet18", "adapter_mfa", "mean"])
def test_any_network_stands_behind(backend: str) -> None:
    options = {
        "xvector": {"hidden_dim": 16, "stats_dim": 32},
        "campplus": {"growth": 4, "channels": 16},
        "resnet18": {"m_channels": 4},
    }.get(backend, {})
    size = 32 if backend == "mean" else 8
    changes = {"backend": backend, "backend_options": options, "embedding_dim": size}
    encoder = draw_weights(build_model("wavlm_large", **{**TINY["wavlm_large"], **changes}))
    with torch.inference_mode():
        embeddings = encoder(waveforms())
    assert embeddings.shape == (2, size) and embeddings.isfinite().all()
    assert not torch.allclose(embeddings[0], embeddings[1], rtol=1e-3)


def test_frozen_front_end_stays_as_it_is() -> None:
    encoder = build_model("wavlm_base", **{**TINY["wavlm_base"], "frozen": True}).train()
    assert not any(module.training for module in encoder.ssl.modules())
    assert encoder.head.training
    encoder(waveforms()).square().sum().backward()
    grads = {key for key, parameter in encoder.named_parameters() if parameter.grad is not None}
    assert grads == {f"head.{key}" for key, _ in encoder.head.named_parameters()}
    joint = build_model("wavlm_base", **TINY["wavlm_base"]).train()
    assert all(module.training for module in joint.ssl.modules())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"backend": "ecappa_glob_c512"}, "did you mean `ecapa_glob_c512`"),
        ({"backend_options": {"chanels": 8}}, "did you mean `channels`"),
        ({"backend": "mean", "backend_options": {}}, "gives embeddings of 32"),
        ({"backend": "adapter_mfa"}, "channels`: unknown setting"),
        ({"feat_dim": 80}, "feat_dim"),
        ({"state_dims": 3}, "did you mean `state_dim`"),
    ],
)
def test_what_does_not_go_together_is_refused(changes: dict[str, object], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        build_model("wavlm_base", **{**TINY["wavlm_base"], **changes})


def test_w2vbert_without_its_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(SvError, match="needs the package transformers") as caught:
        build_model("w2vbert2_mfa", **TINY["w2vbert2_mfa"])
    assert caught.value.hint == "pip install 'svtool[ssl]'"


def test_waveform_front_end_hands_out_samples() -> None:
    settings = FRONTENDS["waveform"]
    samples = waveforms()[..., 0]
    frontend = Frontend(settings)
    assert torch.equal(frontend(samples), samples[..., None])
    assert frontend.num_frames(8000) == num_frames(8000, settings) == 8000
    assert (settings.frame_shift, settings.feat_dim) == (1, 1)
    assert settings.model_copy(update={"sample_rate": 8000}).frame_shift == 1
    with pytest.raises(ValueError, match="no dither, energy or mean norm"):
        FrontendSettings(kind="waveform")


def test_front_ends_of_the_registry_fit() -> None:
    assert FRONTENDS[MODELS["w2vbert2_mfa"].frontend].feat_dim == 80
    assert not FRONTENDS[MODELS["w2vbert2_mfa"].frontend].mean_norm
