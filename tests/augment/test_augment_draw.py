"""Draws: frequencies as the chain says, each utterance by its own numbers alone."""

import numpy as np
import pytest
import torch

from sv_cli.augment.banks import Series, hold_banks
from sv_cli.augment.chain import Augmenter
from sv_cli.augment.draw import ALL_SCENES, NUM_CHANCES, Draws, Stock, draw, scene_rows
from sv_cli.augment.settings import CHAINS, AugmentSettings
from sv_cli.sampling.plan import Purpose, chances

STOCK = Stock(
    {
        "noise": (0, 90),
        "music": (90, 60),
        "speech": (150, 50),
        "room_noise": (0, 90),
        "rir": (0, 30),
        "room_rir": (30, 10),
    }
)
COUNT = 20000


@pytest.fixture(scope="module")
def numbers() -> np.ndarray:
    return np.random.Generator(np.random.Philox(7)).random((COUNT, NUM_CHANCES))


def settings(name: str, **changes: object) -> AugmentSettings:
    return AugmentSettings.model_validate({"chain": name, **changes})


def within(share: float, expected: float) -> bool:
    """Tell whether a share of COUNT draws is within 4.5 standard deviations."""
    return abs(share - expected) <= 4.5 * np.sqrt(expected * (1 - expected) / COUNT) + 1e-12


@pytest.mark.parametrize("name", sorted(CHAINS))
def test_scenes_come_as_often_as_the_chain_says(name: str, numbers: np.ndarray) -> None:
    chain = settings(name)
    draws = draw(chain, STOCK, numbers)
    counts = np.bincount(draws.scenes, minlength=len(ALL_SCENES)) / COUNT
    expected = {**dict.fromkeys(ALL_SCENES, 0.0), **chain.scenes}
    expected["clean"] = 1.0 - chain.prob
    for scene, share in zip(ALL_SCENES, counts, strict=True):
        assert within(share, expected[scene]), scene
    reverberated = chain.scenes.get("reverb", 0.0) + chain.scenes.get("room", 0.0)
    assert within(len(draws.reverb_rows) / COUNT, reverberated)


def test_a_pool_is_drawn_by_file_and_each_kind_has_its_ratio(numbers: np.ndarray) -> None:
    chain = settings("wespeaker", prob=1.0, weights={"noise": 1.0, "reverb": 0.0})
    layer = draw(chain, STOCK, numbers).layers[0]
    assert len(layer.rows) == COUNT
    counts = np.bincount(layer.files, minlength=200)
    assert counts.size == 200 and counts.min() > 0.6 * COUNT / 200
    for kind, low, high in (("noise", 0, 15), ("music", 5, 15), ("speech", 10, 30)):
        first, count = STOCK.kinds[kind]
        inside = (layer.files >= first) & (layer.files < first + count)
        assert within(inside.mean(), count / 200)
        snr = layer.snr[inside]
        assert low <= snr.min() < low + 0.1 and high - 0.1 < snr.max() <= high
        assert snr.mean() == pytest.approx((low + high) / 2, abs=0.3)


@pytest.mark.parametrize("by_duration", [False, True])
def test_long_recordings_are_drawn_more_often_by_duration(
    numbers: np.ndarray, by_duration: bool
) -> None:
    """Files and hours in MUSAN's proportions: music has 42 % of the files and 87 % of the time."""
    crop = 100
    series = [
        Series(("noise",), [np.ones(crop * (1 + i % 5), np.int16) for i in range(93)]),
        Series(("music",), [np.ones(29 * crop, np.int16)] * 65 + [np.ones(crop // 2, np.int16)]),
    ]
    changes = {"prob": 1.0, "weights": {"babble": 0.0, "reverb": 0.0, "room": 0.0}}
    if not by_duration:
        changes["by_duration"] = []
    chain = settings("speaker-net", **changes)
    augmenter = Augmenter(
        chain, hold_banks(series, num_samples=crop), num_samples=crop, sample_rate=16000,
        device=torch.device("cpu"),
    )  # fmt: skip
    lengths = augmenter.stock.lengths
    layer = draw(chain, augmenter.stock, numbers).layers[0]
    expected = lengths[93:].sum() / lengths.sum() if by_duration else 66 / 159
    assert expected == pytest.approx(0.87 if by_duration else 0.42, abs=0.006)
    assert within((layer.files >= 93).mean(), expected)
    shares = np.bincount(layer.files, minlength=159) / COUNT
    each = lengths / lengths.sum() if by_duration else np.full(159, 1 / 159)
    assert all(within(share, one) for share, one in zip(shares, each, strict=True))
    music = layer.files >= 93
    assert layer.snr[music].min() >= 5 and layer.snr[music].max() <= 15
    firsts, lasts = layer.places.min(), layer.places.max()
    assert firsts < 0.01 and lasts > 0.99, "the place in the file has its own number"


def test_equal_lengths_are_drawn_as_files_are(numbers: np.ndarray) -> None:
    for name in ("speaker-net", "ecapa-tdnn"):
        chain = settings(name)
        stock = Stock(STOCK.kinds, np.full(200, 7), chain.by_duration)
        by_file, by_time = (draw(chain, one, numbers).layers for one in (STOCK, stock))
        for first, second in zip(by_file, by_time, strict=True):
            assert np.array_equal(first.files, second.files)


def test_babble_of_three_to_eight_each_with_its_ratio(numbers: np.ndarray) -> None:
    chain = settings("ecapa-tdnn")
    draws = draw(chain, STOCK, numbers)
    first, second = draws.layers
    babbled = np.union1d(scene_rows(draws.scenes, "babble"), scene_rows(draws.scenes, "television"))
    rows, counts = np.unique(first.rows, return_counts=True)
    counts = counts[np.isin(rows, babbled)]
    shares = np.bincount(counts, minlength=9) / len(counts)
    assert shares[:3].sum() == 0 and shares[3:] == pytest.approx(np.full(6, 1 / 6), abs=0.02)
    speech = np.isin(first.rows, babbled)
    assert ((first.files[speech] >= 150) & (first.files[speech] < 200)).all()
    assert (first.snr[speech] >= 13).all() and (first.snr[speech] <= 20).all()
    assert np.array_equal(second.rows, scene_rows(draws.scenes, "television"))
    assert ((second.files >= 90) & (second.files < 150)).all()


def test_the_sum_of_a_babble_has_one_ratio(numbers: np.ndarray) -> None:
    draws = draw(settings("speaker-net"), STOCK, numbers)
    layer = draws.layers[0]
    babbled = np.isin(layer.rows, scene_rows(draws.scenes, "babble"))
    per_row = layer.snr[babbled].reshape(-1, 4)
    assert (per_row == per_row[:, :1]).all()
    assert len(np.unique(per_row[:, 0])) == len(per_row)


def test_a_room_has_noise_as_often_as_told(numbers: np.ndarray) -> None:
    chain = settings("speaker-net")
    draws = draw(chain, STOCK, numbers)
    rooms = scene_rows(draws.scenes, "room")
    noisy = np.isin(rooms, draws.layers[0].rows).mean()
    assert noisy == pytest.approx(0.5, abs=0.05)
    in_rooms = np.isin(draws.reverb_rows, rooms)
    assert (draws.rirs[in_rooms] >= 30).all() and (draws.rirs[~in_rooms] < 30).all()


def test_stripes_have_the_widths_told(numbers: np.ndarray) -> None:
    spec = {"prob": 0.6, "time_masks": 2}
    draws = draw(settings("none", spec=spec), STOCK, numbers)
    masked = draws.time.widths.any(axis=1)
    assert within(masked.mean(), 0.6)
    assert draws.time.widths.shape == (COUNT, 2) and draws.freq.widths.shape == (COUNT, 1)
    assert (draws.freq.widths[~masked] == 0).all()
    shares = np.bincount(draws.time.widths[masked].ravel(), minlength=11) / masked.sum() / 2
    assert shares[0] == 0 and shares[1:] == pytest.approx(np.full(10, 0.1), abs=0.015)


def test_levels_change_as_often_and_as_far_as_told(numbers: np.ndarray) -> None:
    draws = draw(settings("none", gain_prob=0.25, gain_db=[2.0, 8.0]), STOCK, numbers)
    changed = draws.gain_db != 0
    assert within(changed.mean(), 0.25)
    assert draws.gain_db[changed].min() >= 2 and draws.gain_db[changed].max() <= 8


def test_bands_and_codecs_come_as_often_and_as_told(numbers: np.ndarray) -> None:
    band = {"prob": 0.3, "low_hz": [100, 300], "high_hz": [3400, 5000]}
    names = ["ulaw", "mp3", "opus"]
    codec = {"prob": 0.2, "names": names, "compression": [0.5, 0.9]}
    draws = draw(settings("wespeaker", band=band, codec=codec), STOCK, numbers)
    bands, coded = draws.bands, draws.coded
    assert within(len(bands.rows) / COUNT, 0.3) and within(len(coded.rows) / COUNT, 0.2)
    both = len(np.intersect1d(bands.rows, coded.rows)) / COUNT
    assert within(both, 0.06), "the two are drawn apart"
    for values, low, high in (
        (bands.low_hz, 100, 300), (bands.high_hz, 3400, 5000), (coded.compression, 0.5, 0.9),
    ):  # fmt: skip
        assert values.min() >= low and values.max() <= high
        assert values.mean() == pytest.approx((low + high) / 2, rel=0.02)
    shares = np.bincount(coded.codecs) / len(coded.codecs)
    assert shares == pytest.approx(np.full(3, 1 / 3), abs=0.04)
    plain = draw(settings("wespeaker"), STOCK, numbers)
    assert np.array_equal(plain.scenes, draws.scenes), "other effects keep their numbers"
    assert len(plain.bands.rows) == len(plain.coded.rows) == 0


def test_a_seed_draws_what_it_drew_before_there_were_codecs() -> None:
    """Recorded when a row had 50 numbers."""
    chain = settings("speaker-net", gain_prob=0.5, spec={"prob": 1.0})
    items = np.arange(12)
    draws = draw(chain, STOCK, chances(11, 2, items, count=NUM_CHANCES, purpose=Purpose.AUGMENT))
    assert draws.scenes.tolist() == [0, 5, 1, 5, 5, 6, 3, 5, 1, 6, 0, 5]
    assert draws.rirs.tolist() == [15, 5, 27, 35, 22, 31, 8]
    assert draws.layers[0].files.tolist() == [9, 12, 188, 159, 162, 173, 77, 46]
    gains = [0.0, 5.222, -1.619, 0.0, 5.197, 0.0, 0.0, -3.701, 0.0, -2.004, -3.763, 0.0]
    assert draws.gain_db == pytest.approx(gains, abs=1e-3)
    assert draws.time.widths[:, 0].tolist() == [6, 9, 6, 9, 2, 5, 2, 4, 7, 3, 4, 9]
    assert draws.freq.widths[:, 0].tolist() == [4, 3, 3, 7, 3, 7, 3, 8, 8, 7, 3, 5]


def by_row(draws: Draws, row: int) -> list[object]:
    """Return all that is done to one utterance."""
    layers = [
        [column[layer.rows == row].tolist() for column in (layer.files, layer.places, layer.snr)]
        for layer in draws.layers
    ]
    arrays = (draws.scenes, draws.gain_db, draws.time.widths, draws.time.places)
    arrays += (draws.freq.widths, draws.freq.places)
    rirs = draws.rirs[draws.reverb_rows == row].tolist()
    bands, coded = draws.bands, draws.coded
    sides = (bands.low_hz[bands.rows == row].tolist(), bands.high_hz[bands.rows == row].tolist())
    codecs = coded.codecs[coded.rows == row].tolist()
    levels = coded.compression[coded.rows == row].tolist()
    return [layers, rirs, sides, codecs, levels, *(array[row].tolist() for array in arrays)]


@pytest.mark.parametrize("name", sorted(CHAINS))
def test_a_draw_is_the_utterances_own(name: str) -> None:
    """In another batch, another order, another process: the same (seed, epoch, item)."""
    chain = settings(name, gain_prob=0.5, band={"prob": 0.5}, codec={"prob": 0.5})
    items = np.array([3, 900, 17, 4, 4411, 23, 5, 8])

    def drawn(some: np.ndarray, epoch: int) -> dict[int, list[object]]:
        numbers = chances(11, epoch, some, count=NUM_CHANCES, purpose=Purpose.AUGMENT)
        draws = draw(chain, STOCK, numbers)
        return {int(item): by_row(draws, row) for row, item in enumerate(some)}

    whole = drawn(items, 2)
    halves = {**drawn(items[::-1][:4], 2), **drawn(items[:4], 2)}
    assert whole == halves
    assert whole != drawn(items, 3)
