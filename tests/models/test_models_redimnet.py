"""ReDimNet: WeSpeaker's recorded embeddings and counts."""

import pytest
import torch
from golden_models import check_golden

from sv_cli.models import redimnet
from sv_cli.models.redimnet import ToGrid, ToVectors, mix_maps

COUNTS = {
    "b0": 1_001_851,
    "b1": 2_123_481,
    "b2": 4_888_241,
    "b3": 3_220_413,
    "b4": 6_432_305,
    "b5": 7_650_545,
    "b6": 15_006_257,
}


@pytest.mark.parametrize("size", COUNTS)
def test_parameter_counts(size: str) -> None:
    with torch.device("meta"):
        encoder = getattr(redimnet, f"redimnet_{size}")()
    assert sum(p.numel() for p in encoder.parameters()) == COUNTS[size]


def test_counts_of_the_authors_head() -> None:
    """Values of B5's published file, with its window, filters and pre-emphasis."""
    with torch.device("meta"):
        encoder = redimnet.redimnet_b5(pooled_norm=True)
    state = encoder.state_dict()
    buffers = (2, 400, 257 * 72)
    assert len(state) + len(buffers) == 1052
    assert sum(value.numel() for value in state.values()) + sum(buffers) == 7_709_351
    assert sum(p.numel() for p in encoder.parameters()) == 7_659_761
    assert {key.split(".")[0] for key in state} == {"backbone", "pool", "bn", "linear"}


@pytest.mark.parametrize("size", ["b0", "b2", pytest.param("b6", marks=pytest.mark.slow)])
def test_golden(size: str) -> None:
    encoder = getattr(redimnet, f"redimnet_{size}")()
    check_golden(encoder, f"wenet-e2e_wespeaker-redimnet-{size}-192")


def test_grid_and_vectors_undo_each_other() -> None:
    grid = torch.arange(2 * 3 * 4 * 5.0).reshape(2, 3, 4, 5)
    vectors = ToVectors()(grid)
    assert vectors[1, 2 * 3 + 1, 4] == grid[1, 1, 2, 4]
    assert torch.equal(ToGrid(4)(vectors), grid)


def test_equal_weights_give_the_mean() -> None:
    first, second = torch.full((1, 2, 3), 1.0), torch.full((1, 2, 3), 5.0)
    assert torch.equal(mix_maps([first, second], torch.zeros(1, 2, 2, 1)), (first + second) / 2)
