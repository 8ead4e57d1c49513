"""SpecAugment: widths, places, and one utterance's stripes apart from another's."""

import numpy as np
import pytest
import torch

from sv_cli.augment.draw import NUM_CHANCES, Stock, Stripes, draw
from sv_cli.augment.settings import AugmentSettings
from sv_cli.augment.spec import mask_features

NUM_FRAMES, NUM_BINS = 60, 40


def stripes(width: int, place: float) -> Stripes:
    return Stripes(np.array([[width]]), np.array([[place]]))


NONE = stripes(0, 0.5)


@pytest.mark.parametrize(
    ("width", "place", "inside", "first", "last"),
    [
        (7, 0.0, False, 0, 7),
        (7, 0.5, False, 30, 37),
        (7, 0.999, False, 59, 60),
        (7, 0.5, True, 26, 33),
        (7, 0.999, True, 52, 59),
        (60, 0.9, True, 0, 60),
    ],
)
def test_a_stripe_covers_its_frames(
    width: int, place: float, inside: bool, first: int, last: int
) -> None:
    ones = torch.ones(1, NUM_FRAMES, NUM_BINS)
    masked = mask_features(ones, stripes(width, place), NONE, inside=inside)[0]
    covered = torch.nonzero((masked == 0).all(dim=1))[:, 0].tolist()
    assert covered == list(range(first, last))
    assert int((masked == 0).sum()) == (last - first) * NUM_BINS


def test_stripes_of_both_axes_by_the_drawn_widths() -> None:
    spec = {"prob": 0.7, "max_time": 9, "max_freq": 7, "inside": True}
    settings = AugmentSettings.model_validate({"spec": spec})
    chances = np.random.Generator(np.random.Philox(1)).random((200, NUM_CHANCES))
    draws = draw(settings, Stock({}), chances)
    feats = torch.ones(200, NUM_FRAMES, NUM_BINS)
    masked = mask_features(feats, draws.time, draws.freq, inside=True)
    frames = (masked == 0).all(dim=2).sum(dim=1).numpy()
    bins = (masked == 0).all(dim=1).sum(dim=1).numpy()
    assert np.array_equal(frames, draws.time.widths[:, 0])
    assert np.array_equal(bins, draws.freq.widths[:, 0])
    assert len({tuple(row) for row in (masked == 0).all(dim=2).tolist()}) > 50
    for row in range(0, 200, 37):
        alone = [Stripes(s.widths[row : row + 1], s.places[row : row + 1])
                 for s in (draws.time, draws.freq)]  # fmt: skip
        single = mask_features(feats[row : row + 1], *alone, inside=True)
        assert torch.equal(single[0], masked[row])


def test_several_stripes_join() -> None:
    time = Stripes(np.array([[3, 4]]), np.array([[0.0, 0.5]]))
    masked = mask_features(torch.ones(1, NUM_FRAMES, NUM_BINS), time, NONE, inside=False)[0]
    covered = torch.nonzero((masked == 0).all(dim=1))[:, 0].tolist()
    assert covered == [0, 1, 2, 30, 31, 32, 33]
