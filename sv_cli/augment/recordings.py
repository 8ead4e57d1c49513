"""The noise and the rooms that the settings name, read from data directories as int16."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from sv_cli.audio.prefetch import read_ahead
from sv_cli.audio.read import read_waveform
from sv_cli.augment.banks import RIR_KINDS, Series
from sv_cli.augment.settings import AugmentSettings
from sv_cli.errors import AudioError, SettingsError, TableError
from sv_cli.tables.datadir.directory import DataDir, Utterance
from sv_cli.workers import num_cores

_FULL_SCALE = 32768.0
_KINDS = ("noise", "music", "speech", "room_noise", "rir", "room_rir")
_MAX_THREADS = 8


@dataclass(frozen=True)
class Form:
    """How recordings are read.

    Attributes
    ----------
    sample_rate : int
        Hz that they must have.
    audio_root : str or None
        Where relative paths start.
    """

    sample_rate: int
    audio_root: str | None = None


def find_series(settings: AugmentSettings, form: Form) -> list[Series]:
    """Return the recordings of the kinds that occur in the scenes, to be read when asked for.

    Raises
    ------
    SettingsError
        When a directory is missing, or a scene has nothing to take from.
    """
    needed = _needed_kinds(settings)
    directories: dict[str, list[Utterance]] = {}
    places: dict[_Place, list[str]] = {}
    for kind in (kind for kind in _KINDS if kind in needed):
        place = _place_of(kind, settings)
        if place is not None and place.utterances(directories):
            places.setdefault(place, []).append(kind)
    found = {kind for kinds in places.values() for kind in kinds}
    if "noise" in settings.scenes and not found.intersection(settings.pool):
        _refuse(settings, settings.pool[0], "noise")
    for kind, scene in needed.items():
        if kind not in found and scene != "noise":
            _refuse(settings, kind, scene)
    return [
        Series(tuple(kinds), read_all(place.utterances(directories), form, full_scale=place.is_rir))
        for place, kinds in places.items()
    ]


def read_all(
    utterances: Sequence[Utterance], form: Form, *, full_scale: bool = False
) -> Iterator[NDArray[np.int16]]:
    """Return an iterator over recordings in order, a few of them read ahead by threads.

    Parameters
    ----------
    utterances : sequence of Utterance
    form : Form
    full_scale : bool
        Bring each to full scale; otherwise only those beyond it.

    Raises
    ------
    AudioError
        When one is missing, of another rate, or silent from end to end.
    """
    num_threads = min(num_cores(), _MAX_THREADS)
    read = partial(_read, form=form, full_scale=full_scale)
    return read_ahead(read, utterances, num_readers=num_threads, ahead=num_threads)


def _read(utterance: Utterance, form: Form, full_scale: bool) -> NDArray[np.int16]:
    waveform, rate = read_waveform(
        utterance.rx,
        start=utterance.start,
        end=utterance.end,
        channel=0 if utterance.channel is None else utterance.channel,
        sample_rate=None,
        audio_root=form.audio_root,
    )
    if rate != form.sample_rate:
        raise AudioError(
            f"`{utterance.utt}`: sample rate {rate} instead of {form.sample_rate}",
            hint="bring noise and responses to the rate of the training data",
        )
    peak = float(np.abs(waveform).max())
    if peak == 0.0:
        raise AudioError(
            f"`{utterance.utt}`: silent from end to end", hint="remove it from wav.scp"
        )
    highest = (_FULL_SCALE - 1) / _FULL_SCALE
    scaled = (
        waveform.astype(np.float64) * (highest / peak) if full_scale or peak > 1.0 else waveform
    )
    samples: NDArray[np.int16] = np.clip(
        np.rint(scaled * _FULL_SCALE), -_FULL_SCALE, _FULL_SCALE - 1
    ).astype(np.int16)
    return samples


@dataclass(frozen=True)
class _Place:
    """Where the recordings of a kind are: in a directory, those whose ids begin with `prefix`."""

    path: str
    prefix: str
    is_rir: bool
    setting: str

    def utterances(self, directories: dict[str, list[Utterance]]) -> list[Utterance]:
        """Return them; `directories` keeps what was read of the tables."""
        if self.path not in directories:
            directories[self.path] = self._load()
        return [u for u in directories[self.path] if u.utt.startswith(self.prefix)]

    def _load(self) -> list[Utterance]:
        try:
            data = DataDir.load(self.path)
            if not data.wav:
                raise TableError(f"`{self.path}`: no wav.scp to take recordings from")
            return data.recordings()
        except TableError as error:
            message = f"`augment.{self.setting}`: {error.message}"
            raise SettingsError(message, hint=error.hint) from error


def _place_of(kind: str, settings: AugmentSettings) -> _Place | None:
    is_rir = kind in RIR_KINDS
    own = getattr(settings, kind)
    if kind in ("room_rir", "room_noise") and not own:
        return _place_of("rir" if is_rir else "noise", settings)
    if own:
        return _Place(own, "", is_rir, kind)
    if is_rir or not settings.musan:
        return None
    return _Place(settings.musan, kind, False, "musan")


def _needed_kinds(settings: AugmentSettings) -> dict[str, str]:
    """Return kind -> a scene that takes from it; `noise` only where no scene insists on it."""
    kinds_of = {
        "noise": settings.pool,
        "music": ("music",),
        "babble": ("speech",),
        "television": ("speech", "music"),
        "reverb": ("rir",),
        "room": ("room_rir",) + (("room_noise",) if settings.room_noise_prob > 0 else ()),
    }
    return {kind: scene for scene in settings.scenes for kind in kinds_of[scene]}


def _refuse(settings: AugmentSettings, kind: str, scene: str) -> None:
    raise SettingsError(
        f"`augment.{kind}`: no recordings for scene `{scene}` of chain `{settings.chain}`",
        hint=f"give a data directory, or set `augment.weights.{scene} = 0`",
    )
