import pytest
import torch
from torch.nn import functional

from sv_cli.errors import SettingsError, ShapeError
from sv_cli.models.pooling import (
    ASTP,
    MHASTP,
    POOLINGS,
    TAP,
    TSTP,
    XI,
    make_pooling,
    with_context,
)


def sample(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(3))


def test_average_and_deviation_by_hand() -> None:
    x = torch.tensor([[[1.0, 2.0, 3.0], [0.0, 0.0, 6.0]]])
    assert TAP(2)(x).tolist() == [[2.0, 2.0]]
    expected = torch.tensor([[2.0, 2.0, 1.0, 12.0**0.5]])
    torch.testing.assert_close(TSTP(2, eps=0.0)(x), expected)
    torch.testing.assert_close(make_pooling("TSDP", 2, eps=0.0)(x), expected[:, 2:])


def test_frequency_is_flattened_channel_major() -> None:
    x = sample(2, 3, 4, 7)
    torch.testing.assert_close(TSTP(12)(x), TSTP(12)(x.reshape(2, 12, 7)))
    astp = ASTP(12)
    torch.testing.assert_close(astp(x), astp(x.reshape(2, 12, 7)))


@pytest.mark.parametrize("name", POOLINGS)
def test_sizes_and_shortest_length(name: str) -> None:
    pooling = make_pooling(name, 16).eval()
    assert pooling(sample(3, 16, 9)).shape == (3, pooling.out_dim)
    assert pooling(sample(3, 16, pooling.min_frames)).isfinite().all()


@pytest.mark.parametrize("name", ["TSDP", "TSTP"])
def test_one_frame_has_no_variance(name: str) -> None:
    with pytest.raises(ShapeError, match="needs 2 frames"):
        make_pooling(name, 4)(sample(1, 4, 1))


@pytest.mark.parametrize("name", POOLINGS)
def test_constant_input_has_finite_gradient(name: str) -> None:
    x = torch.ones(2, 16, 5, requires_grad=True)
    make_pooling(name, 16).eval()(x).sum().backward()
    assert x.grad is not None and x.grad.isfinite().all()


@pytest.mark.parametrize("name", POOLINGS)
def test_bf16_statistics_are_summed_in_float32(name: str) -> None:
    torch.manual_seed(0)
    pooling = make_pooling(name, 16).eval()
    x = (sample(2, 16, 3000) + 30).to(torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        got = pooling(x)
    assert got.dtype == torch.float32
    expected = pooling(x.float())
    assert functional.cosine_similarity(got, expected).min() > 0.99999


def test_context_is_the_convolution_of_the_concatenation() -> None:
    x = sample(2, 6, 11)
    astp = ASTP(6, global_context=True)
    mean = x.mean(-1, keepdim=True).expand_as(x)
    std = (x.var(-1, keepdim=True) + 1e-7).sqrt().expand_as(x)
    whole = astp.linear1(torch.cat([x, mean, std], dim=1))
    torch.testing.assert_close(with_context(astp.linear1, x, 1e-7), whole)


def test_uniform_attention_gives_plain_statistics() -> None:
    x = sample(2, 8, 20)
    pooling = MHASTP(8, num_heads=1)
    for parameter in pooling.parameters():
        torch.nn.init.zeros_(parameter)
    expected = torch.cat([x.mean(-1), x.std(-1, unbiased=False)], dim=1)
    torch.testing.assert_close(pooling(x), expected)


def test_xi_prior_alone_and_dominant_frames() -> None:
    pooling = XI(4).eval()
    torch.nn.init.ones_(pooling.prior_mean)
    torch.nn.init.zeros_(pooling.lin2.weight)
    torch.nn.init.constant_(pooling.lin2.bias, -200.0)  # no precision at all
    torch.testing.assert_close(pooling(sample(1, 4, 5)), torch.ones(1, 4), atol=1e-4, rtol=0)
    x = sample(1, 4, 5).requires_grad_()
    pooling(x).sum().backward()
    assert x.grad is not None and x.grad.isfinite().all()


def test_unknown_name() -> None:
    with pytest.raises(SettingsError, match="did you mean `TSTP`"):
        make_pooling("tstp", 4)
