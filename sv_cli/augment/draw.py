"""What happens to each utterance of a batch, out of the random numbers that belong to it.

Nothing here is random: every utterance brings a row of numbers in [0, 1) that is a function of
(seed, epoch, utterance). So the draw of an utterance depends on nothing else in the batch, on no
worker and no number of processes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sv_cli.augment.settings import (
    MAX_BABBLE,
    MAX_MASKS,
    SCENES,
    AugmentSettings,
    Scene,
    SpecSettings,
)

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

# The columns of a row of random numbers.
SCENE, RIR, ROOM_NOISE, BABBLE_COUNT, GAIN, GAIN_DB, SPEC = range(7)
FIRST = slice(7, 10)  # file, start, ratio of the only recording, or of the one over the babble
BABBLE = slice(10, 10 + 3 * MAX_BABBLE)
TIME_MASKS = slice(BABBLE.stop, BABBLE.stop + 2 * MAX_MASKS)
FREQ_MASKS = slice(TIME_MASKS.stop, TIME_MASKS.stop + 2 * MAX_MASKS)
# Later columns follow, so that earlier numbers and the draws of older runs stay the same.
BAND, LOW_HZ, HIGH_HZ, CODEC, CODEC_NAME, COMPRESSION = range(FREQ_MASKS.stop, FREQ_MASKS.stop + 6)
NUM_CHANCES = COMPRESSION + 1

ALL_SCENES: tuple[Scene, ...] = ("clean", *SCENES)


@dataclass(frozen=True)
class Stock:
    """The files of the banks.

    Attributes
    ----------
    kinds : dict of str to (first, count)
        Sounds have the kinds `noise`, `music`, `speech` and `room_noise`; responses `rir` and
        `room_rir`.
    lengths : (num_sounds,) int64
        Samples of each sound.
    by_duration : tuple of str
        Kinds whose files are drawn in proportion to their lengths.
    """

    kinds: dict[str, tuple[int, int]]
    lengths: Ints = field(default_factory=lambda: np.empty(0, np.int64))
    by_duration: tuple[str, ...] = ()

    def pick(self, kinds: Sequence[str], chance: Floats) -> Ints:
        """Return a file of the kinds, taken together, for each number in [0, 1)."""
        spans = [self.kinds[kind] for kind in kinds]
        files = np.concatenate([np.arange(first, first + count) for first, count in spans])
        if kinds[0] not in self.by_duration:
            return np.asarray(files[_below(len(files), chance)])
        ends = np.cumsum(self.lengths[files])
        return np.asarray(files[np.searchsorted(ends, _below(int(ends[-1]), chance), side="right")])


@dataclass(frozen=True)
class Sources:
    """Recordings to be added: one row each, several of one utterance allowed.

    Attributes
    ----------
    rows : (num_sources,) int64
        Utterance of the batch, ascending.
    files : (num_sources,) int64
        File of the bank.
    places : (num_sources,) float64
        Where in the file, from 0 to 1.
    snr : (num_sources,) float64
        Ratio in dB.
    """

    rows: Ints
    files: Ints
    places: Floats
    snr: Floats


@dataclass(frozen=True)
class Stripes:
    """SpecAugment of one axis.

    Attributes
    ----------
    widths : (batch, num_masks) int64
        0 where there is none.
    places : (batch, num_masks) float64
        Where it starts, from 0 to 1 of the possible places.
    """

    widths: Ints
    places: Floats


@dataclass(frozen=True)
class Bands:
    """Utterances whose band is limited.

    Attributes
    ----------
    rows : (num_limited,) int64
        Utterance of the batch, ascending.
    low_hz, high_hz : (num_limited,) float64
    """

    rows: Ints
    low_hz: Floats
    high_hz: Floats


@dataclass(frozen=True)
class Coded:
    """Utterances that go through a codec.

    Attributes
    ----------
    rows : (num_coded,) int64
        Utterance of the batch, ascending.
    codecs : (num_coded,) int64
        Index in the `names` of the settings.
    compression : (num_coded,) float64
    """

    rows: Ints
    codecs: Ints
    compression: Floats


@dataclass(frozen=True)
class Draws:
    """What is done to a batch.

    Attributes
    ----------
    scenes : (batch,) int64
        Index in `ALL_SCENES`.
    reverb_rows, rirs : (num_reverberated,) int64
        Utterances and their responses.
    layers : list of Sources
        Added one after the other, each relative to what the one before left.
    bands : Bands
    coded : Coded
    gain_db : (batch,) float64
        Change of level.
    time, freq : Stripes
    """

    scenes: Ints
    reverb_rows: Ints
    rirs: Ints
    layers: list[Sources]
    bands: Bands
    coded: Coded
    gain_db: Floats
    time: Stripes
    freq: Stripes

    @property
    def alters_crops(self) -> bool:
        """Return whether any crop changes but for its level."""
        return bool(self.scenes.any() or len(self.bands.rows) or len(self.coded.rows))


def draw(settings: AugmentSettings, stock: Stock, chances: Floats) -> Draws:
    """Return what is done to each utterance.

    Parameters
    ----------
    settings : AugmentSettings
    stock : Stock
    chances : (batch, NUM_CHANCES) float64 in [0, 1)
    """
    scenes = _draw_scenes(settings, chances[:, SCENE])
    reverb_rows, rirs = _draw_rirs(stock, scenes, chances)
    gained = chances[:, GAIN] < settings.gain_prob
    masked = chances[:, SPEC] < settings.spec.prob
    return Draws(
        scenes,
        reverb_rows,
        rirs,
        [
            _joined(
                _draw_babble(settings, stock, scenes, chances),
                _draw_noise(settings, stock, scenes, chances),
                _draw_single("music", "music", settings, stock, scenes, chances),
                _draw_room_noise(settings, stock, scenes, chances),
            ),
            _draw_single("television", "music", settings, stock, scenes, chances),
        ],
        _draw_bands(settings, chances),
        _draw_coded(settings, chances),
        np.where(gained, _between(settings.gain_db, chances[:, GAIN_DB]), 0.0),
        _draw_stripes(settings.spec, "time", chances[:, TIME_MASKS], masked),
        _draw_stripes(settings.spec, "freq", chances[:, FREQ_MASKS], masked),
    )


def scene_rows(scenes: Ints, name: Scene) -> Ints:
    """Return the utterances of a scene."""
    return np.flatnonzero(scenes == ALL_SCENES.index(name))


def _draw_scenes(settings: AugmentSettings, chance: Floats) -> Ints:
    shares = settings.scenes
    bounds = np.cumsum(list(shares.values()))
    numbers = np.array([ALL_SCENES.index(name) for name in shares] + [0], dtype=np.int64)
    if len(bounds) and settings.prob == 1.0:
        bounds[-1] = 1.0  # no rounding may leave a clean utterance
    return numbers[np.searchsorted(bounds, chance, side="right")]


def _draw_rirs(stock: Stock, scenes: Ints, chances: Floats) -> tuple[Ints, Ints]:
    rows, rirs = [], []
    for scene, kind in (("reverb", "rir"), ("room", "room_rir")):
        found = scene_rows(scenes, scene)  # type: ignore[arg-type]
        if len(found):
            rows.append(found)
            rirs.append(stock.pick([kind], chances[found, RIR]))
    if not rows:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    all_rows, all_rirs = np.concatenate(rows), np.concatenate(rirs)
    order = np.argsort(all_rows, kind="stable")
    return all_rows[order], all_rirs[order]


def _draw_noise(settings: AugmentSettings, stock: Stock, scenes: Ints, chances: Floats) -> Sources:
    """Draw one file out of the pool as a whole; the ratio depends on its kind."""
    rows = scene_rows(scenes, "noise")
    kinds = [kind for kind in settings.pool if kind in stock.kinds]
    if len(rows) == 0 or not kinds:
        return _nothing()
    file, place, ratio = chances[rows, FIRST].T
    files = stock.pick(kinds, file)
    snr = np.empty(len(files))
    for kind in kinds:
        first, count = stock.kinds[kind]
        mine = (files >= first) & (files < first + count)
        snr[mine] = _between(getattr(settings.snr, kind), ratio[mine])
    return Sources(rows, files, place, snr)


def _draw_single(
    scene: Scene, kind: str, settings: AugmentSettings, stock: Stock, scenes: Ints, chances: Floats
) -> Sources:
    rows = scene_rows(scenes, scene)
    return _one_of(stock, kind, rows, getattr(settings.snr, kind), chances)


def _draw_room_noise(
    settings: AugmentSettings, stock: Stock, scenes: Ints, chances: Floats
) -> Sources:
    rows = scene_rows(scenes, "room")
    rows = rows[chances[rows, ROOM_NOISE] < settings.room_noise_prob]
    return _one_of(stock, "room_noise", rows, settings.snr.room, chances)


def _one_of(
    stock: Stock, kind: str, rows: Ints, snr: tuple[float, float], chances: Floats
) -> Sources:
    if len(rows) == 0:
        return _nothing()
    file, place, ratio = chances[rows, FIRST].T
    return Sources(rows, stock.pick([kind], file), place, _between(snr, ratio))


def _draw_babble(settings: AugmentSettings, stock: Stock, scenes: Ints, chances: Floats) -> Sources:
    rows = np.union1d(scene_rows(scenes, "babble"), scene_rows(scenes, "television"))
    if len(rows) == 0:
        return _nothing()
    least, most = settings.babble_files
    counts = least + _below(most - least + 1, chances[rows, BABBLE_COUNT])
    numbers = chances[rows, BABBLE].reshape(len(rows), MAX_BABBLE, 3)
    if settings.mix.babble == "sum":
        numbers[:, :, 2] = numbers[:, :1, 2]  # one ratio for all of them
    taken = np.arange(MAX_BABBLE) < counts[:, None]
    file, place, ratio = numbers[taken].T
    snr = _between(settings.snr.babble, ratio)
    return Sources(np.repeat(rows, counts), stock.pick(["speech"], file), place, snr)


def _draw_bands(settings: AugmentSettings, chances: Floats) -> Bands:
    band = settings.band
    rows = np.flatnonzero(chances[:, BAND] < band.prob)
    low, high = chances[rows, LOW_HZ], chances[rows, HIGH_HZ]
    return Bands(rows, _between(band.low_hz, low), _between(band.high_hz, high))


def _draw_coded(settings: AugmentSettings, chances: Floats) -> Coded:
    codec = settings.codec
    rows = np.flatnonzero(chances[:, CODEC] < codec.prob)
    codecs = _below(len(codec.names), chances[rows, CODEC_NAME])
    return Coded(rows, codecs, _between(codec.compression, chances[rows, COMPRESSION]))


def _draw_stripes(
    settings: SpecSettings, axis: str, chances: Floats, masked: NDArray[np.bool_]
) -> Stripes:
    count = getattr(settings, f"{axis}_masks")
    least, most = getattr(settings, f"min_{axis}"), getattr(settings, f"max_{axis}")
    numbers = chances.reshape(len(chances), MAX_MASKS, 2)[:, :count]
    widths = least + _below(most - least + 1, numbers[..., 0])
    return Stripes(np.where(masked[:, None], widths, 0), numbers[..., 1])


def _joined(*parts: Sources) -> Sources:
    """Return all sources of a layer, in the order of the batch."""
    rows = np.concatenate([part.rows for part in parts])
    order = np.argsort(rows, kind="stable")
    fields = ("files", "places", "snr")
    files, places, snr = (np.concatenate([getattr(p, f) for p in parts])[order] for f in fields)
    return Sources(rows[order], files, places, snr)


def _nothing() -> Sources:
    return Sources(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0), np.empty(0))


def _below(count: int, chance: Floats) -> Ints:
    """Return a whole number from 0 to `count` - 1 for each number in [0, 1)."""
    return np.minimum((chance * count).astype(np.int64), count - 1)


def _between(bounds: tuple[float, float], chance: Floats) -> Floats:
    return bounds[0] + (bounds[1] - bounds[0]) * chance
