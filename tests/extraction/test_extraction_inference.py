"""The fused copy is the network: the same embeddings, the original untouched."""

import copy

import pytest
import torch
from torch import nn

from sv_cli.errors import ShapeError
from sv_cli.extraction.fused_conv import FusedConv
from sv_cli.extraction.fusion import fuse_network
from sv_cli.extraction.inference import prepare_for_inference
from sv_cli.extraction.precision import computes_bf16
from sv_cli.models.protocol import SpeakerEncoder

NAMES = ["resnet34", "eres2net_base", "ecapa_glob_c512", "ecapa_c512"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("num_frames", [9, 57, 200])
def test_fused_fp32_equals_the_network(make_encoder, name, num_frames):
    encoder = make_encoder(name)
    feats = torch.randn(2, num_frames, 80)
    embed = prepare_for_inference(encoder, "fp32")
    with torch.no_grad():
        expected = encoder(feats)
    torch.testing.assert_close(embed(feats), expected, rtol=1e-4, atol=1e-5)


needs_bf16 = pytest.mark.skipif(
    not computes_bf16(torch.device("cpu")), reason="the processor has no bf16 convolutions"
)


@needs_bf16
@pytest.mark.parametrize("name", NAMES)
def test_fused_bf16_points_the_same_way(make_encoder, name):
    encoder = make_encoder(name)
    feats = torch.randn(1, 200, 80)
    embedding = prepare_for_inference(encoder, "bf16")(feats)
    with torch.no_grad():
        expected = encoder(feats)
    assert embedding.dtype == torch.float32
    assert torch.cosine_similarity(embedding, expected).item() > 0.999


@pytest.mark.parametrize("name", NAMES)
def test_no_norm_is_left_in_the_trunk(make_encoder, name):
    fused = fuse_network(make_encoder(name), dtype=torch.float32)
    assert any(isinstance(module, FusedConv) for module in fused.modules())
    assert not any(isinstance(module, nn.BatchNorm2d) for module in fused.modules())


@pytest.mark.parametrize("precision", ["fp32", pytest.param("bf16", marks=needs_bf16)])
def test_a_network_in_training_is_left_as_it_is(make_encoder, precision):
    encoder = make_encoder("eres2net_base").train()
    before = copy.deepcopy(encoder.state_dict())
    prepare_for_inference(encoder, precision)(torch.randn(1, 50, 80))
    assert encoder.training
    assert all(parameter.requires_grad for parameter in encoder.parameters())
    for key, value in encoder.state_dict().items():
        assert torch.equal(value, before[key]), key
    encoder(torch.randn(2, 50, 80)).sum().backward()


@pytest.mark.parametrize("precision", ["fp32", pytest.param("bf16", marks=needs_bf16)])
def test_any_length_after_the_first_gives_the_same_bits(make_encoder, precision):
    encoder = make_encoder("resnet34")
    feats = torch.randn(1, 120, 80)
    used, fresh = (prepare_for_inference(encoder, precision) for _ in range(2))
    used(torch.randn(1, 33, 80))
    assert torch.equal(used(feats), fresh(feats))


class Branching(SpeakerEncoder):
    """A network that cannot be traced."""

    feat_dim, embedding_dim, min_frames = 80, 80, 1

    def forward(self, feats):
        return feats.mean(1) if feats.sum() > 0 else feats.sum(1)


def test_a_network_that_cannot_be_traced_is_used_as_it_is():
    feats = torch.ones(1, 20, 80)
    torch.testing.assert_close(prepare_for_inference(Branching(), "fp32")(feats), feats.mean(1))


def test_wrong_features_are_refused(make_encoder):
    embed = prepare_for_inference(make_encoder("resnet34"), "fp32")
    with pytest.raises(ShapeError):
        embed(torch.randn(1, 50, 40))


@pytest.mark.parametrize("shape", [(1, 6, 20), (2, 6, 10, 20)])
@pytest.mark.parametrize("activation", ["", "relu", "hardtanh", "swish", "tanh", "sigmoid"])
@pytest.mark.parametrize("summed", [False, True])
def test_one_kernel_equals_plain_operators(shape, activation, summed):
    from sv_cli.extraction.fused_conv import ConvForm

    axes = len(shape) - 2
    scalars = (0.0, 0.5) if activation == "hardtanh" else ()
    form = ConvForm((1,) * axes, (2,) * axes, (2,) * axes, 2, activation, scalars)
    conv = FusedConv(torch.randn(8, 3, *(3,) * axes), torch.randn(8), form)
    x, other = torch.randn(shape), torch.randn(shape[0], 8, *shape[2:]) if summed else None
    expected = conv._plain(x, other)
    torch.testing.assert_close(conv(x, other), expected, rtol=1e-4, atol=1e-5)
