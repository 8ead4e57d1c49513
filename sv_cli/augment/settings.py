"""What is done to training data, and how often; the chains of the published systems by name."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from sv_cli.settings.model import Settings
from sv_cli.settings.speeds import is_speed

Kind = Literal["noise", "music", "speech"]
SoundKind = Literal["noise", "music", "speech", "room_noise"]
Scene = Literal["clean", "noise", "music", "babble", "television", "reverb", "room"]
CodecName = Literal["ulaw", "alaw", "gsm", "g721", "adpcm", "mp3", "opus", "vorbis"]

SCENES: tuple[Scene, ...] = ("noise", "music", "babble", "television", "reverb", "room")

# More would not fit the row of random numbers that belongs to one utterance.
MAX_BABBLE, MAX_MASKS = 8, 4

Range = tuple[float, float]
Share = Annotated[float, Field(ge=0.0, le=1.0)]
Weight = Annotated[float, Field(ge=0.0)]


def _in_order(value: Range) -> Range:
    if value[0] > value[1]:
        raise ValueError(f"the range {value[0]:g} to {value[1]:g} is reversed")
    return value


class SceneWeights(Settings):
    """How often each scene is taken, relative to the others, where an utterance is augmented."""

    noise: Weight = Field(default=0.0, description="One recording out of the kinds in `pool`.")
    music: Weight = Field(default=0.0, description="One recording of music.")
    babble: Weight = Field(default=0.0, description="Several recordings of speech at once.")
    television: Weight = Field(default=0.0, description="Babble, then music over it.")
    reverb: Weight = Field(default=0.0, description="A room impulse response of `rir`.")
    room: Weight = Field(
        default=0.0, description="A response of `room_rir`, then perhaps a noise of `room_noise`."
    )


class SnrRanges(Settings):
    """Signal-to-noise ratios in dB, drawn evenly between two bounds."""

    noise: Range = Field(default=(0.0, 15.0), description="Noise.")
    music: Range = Field(default=(5.0, 15.0), description="Music.")
    speech: Range = Field(default=(13.0, 20.0), description="One recording of speech.")
    babble: Range = Field(default=(13.0, 20.0), description="Babble.")
    room: Range = Field(default=(0.0, 15.0), description="Noise of a room.")

    @field_validator("*")
    @classmethod
    def _in_order(cls, value: Range) -> Range:
        return _in_order(value)


class MixSettings(Settings):
    """The arithmetic of adding noise and of reverberation, which differs between projects."""

    style: Literal["add", "scaled"] = Field(
        default="add",
        description="add: noise is scaled to the ratio and added. scaled: speech x r/(1+r) plus "
        "noise of RMS(speech)/(1+r), r the ratio of amplitudes, which keeps the level.",
    )
    power_floor: float = Field(
        default=1e-4, ge=0, description="Added to both powers before their ratio is taken (add)."
    )
    peak_floor: float = Field(
        default=0.0,
        ge=0,
        description="Each effect is divided by its highest magnitude plus this; 0 leaves it.",
    )
    babble: Literal["each", "sum"] = Field(
        default="each", description="A ratio for each recording of the babble, or for their sum."
    )
    reverb: Literal["cut", "aligned"] = Field(
        default="cut",
        description="cut: convolution with a response of energy 1, cut to length. aligned: "
        "circular, strongest tap at lag 0, brought back to the RMS before.",
    )

    @model_validator(mode="after")
    def _can_mix(self) -> "MixSettings":
        if self.style == "scaled" and self.babble == "each":
            raise ValueError("`style` scaled takes `babble` sum: the speech is scaled once")
        return self


class SpecSettings(Settings):
    """SpecAugment: stripes of zeros over normalised features, drawn for each utterance."""

    prob: Share = Field(default=0.0, description="Probability that an utterance gets stripes.")
    time_masks: int = Field(default=1, ge=0, le=MAX_MASKS, description="Stripes over frames.")
    min_time: int = Field(default=1, ge=0, description="Least frames of a stripe.")
    max_time: int = Field(default=10, ge=0, description="Most frames of a stripe.")
    freq_masks: int = Field(default=1, ge=0, le=MAX_MASKS, description="Stripes over bins.")
    min_freq: int = Field(default=1, ge=0, description="Least bins of a stripe.")
    max_freq: int = Field(default=8, ge=0, description="Most bins of a stripe.")
    inside: bool = Field(
        default=False,
        description="Stripes lie inside the features; otherwise they may start anywhere and are "
        "cut at the end.",
    )

    @model_validator(mode="after")
    def _widths_in_order(self) -> "SpecSettings":
        for axis in ("time", "freq"):
            low, high = getattr(self, f"min_{axis}"), getattr(self, f"max_{axis}")
            if low > high:
                raise ValueError(f"`min_{axis}` {low} is above `max_{axis}` {high}")
        return self


class BandSettings(Settings):
    """Limits of the band, as lines, microphones and old recorders have them."""

    prob: Share = Field(default=0.0, description="Probability that an utterance is limited.")
    low_hz: Range = Field(
        default=(50.0, 300.0), description="Lower limit in Hz, drawn evenly; 0 leaves it open."
    )
    high_hz: Range = Field(default=(3400.0, 7500.0), description="Upper limit in Hz, drawn evenly.")

    @field_validator("low_hz", "high_hz")
    @classmethod
    def _in_order(cls, value: Range) -> Range:
        return _in_order(value)

    @model_validator(mode="after")
    def _leaves_a_band(self) -> "BandSettings":
        if self.low_hz[0] < 0:
            raise ValueError(f"`low_hz` {self.low_hz[0]:g} is below 0")
        if self.low_hz[1] >= self.high_hz[0]:
            low, high = self.low_hz[1], self.high_hz[0]
            raise ValueError(f"`low_hz` up to {low:g} and `high_hz` from {high:g} leave no band")
        return self


class CodecSettings(Settings):
    """Lossy codecs, the last thing that happens to speech before its level."""

    prob: Share = Field(default=0.0, description="Probability that an utterance is coded.")
    names: tuple[CodecName, ...] = Field(
        default=("ulaw", "alaw", "gsm", "mp3", "opus"),
        min_length=1,
        description="Codecs, all equally often. ulaw, alaw, gsm and g721 with a telephone line of "
        "3.4 kHz around them; adpcm, mp3, opus and vorbis at the rate of the crops.",
    )
    compression: Range = Field(
        default=(0.5, 0.95),
        description="How much mp3, opus and vorbis leave out, drawn evenly: libsndfile's level "
        "from 0 (best) towards 1 (smallest).",
    )

    @field_validator("names")
    @classmethod
    def _each_once(cls, value: tuple[CodecName, ...]) -> tuple[CodecName, ...]:
        if len(set(value)) < len(value):
            raise ValueError("a codec is listed twice")
        return value

    @field_validator("compression")
    @classmethod
    def _are_levels(cls, value: Range) -> Range:
        if not 0.0 <= _in_order(value)[0] <= value[1] < 1.0:
            raise ValueError(f"levels from 0 to below 1 are wanted, got {list(value)}")
        return value


class AugmentSettings(Settings):
    """All augmentation of a run; `chain` gives the values of a published system."""

    chain: Literal["none", "wespeaker", "3d-speaker", "speaker-net", "ecapa-tdnn", "redimnet2"] = (
        Field(default="none", description="Whose chain the other settings start from.")
    )
    musan: str = Field(
        default="",
        description="Data directory of noise, music and speech, identified by their ids.",
    )
    noise: str = Field(default="", description="Data directory of noise.")
    music: str = Field(default="", description="Data directory of music.")
    speech: str = Field(default="", description="Data directory of speech for babble.")
    rir: str = Field(default="", description="Data directory of room impulse responses.")
    room_rir: str = Field(default="", description="Responses of scene `room`; empty takes `rir`.")
    room_noise: str = Field(default="", description="Noise of scene `room`; empty takes `noise`.")
    prob: Share = Field(default=0.0, description="Probability that an utterance gets a scene.")
    weights: SceneWeights = SceneWeights()
    snr: SnrRanges = SnrRanges()
    pool: tuple[Kind, ...] = Field(
        default=("noise",), min_length=1, description="Kinds whose files scene `noise` takes from."
    )
    by_duration: tuple[SoundKind, ...] = Field(
        default=(),
        description="Kinds whose recordings are drawn in proportion to their durations, as if cut "
        "into pieces of the length of a crop before; of the others all equally often.",
    )
    babble_files: tuple[int, int] = Field(
        default=(3, MAX_BABBLE), description="Least and most recordings of a babble."
    )
    room_noise_prob: Share = Field(default=1.0, description="Probability of noise in a `room`.")
    mix: MixSettings = MixSettings()
    speeds: tuple[float, ...] = Field(
        default=(), description="Speeds played in addition to 1.0, all equally often."
    )
    speed_classes: Literal["expand", "same", "subset"] = Field(
        default="expand",
        description="expand: each speed of a speaker is a class. same: speeds share the class. "
        "subset: classes as in expand, but only speed 1.0 is played.",
    )
    speed_draw: Literal["random", "each"] = Field(
        default="random",
        description="random: a speed is drawn for each crop. each: an epoch takes each crop at "
        "every speed.",
    )
    band: BandSettings = BandSettings()
    codec: CodecSettings = CodecSettings()
    gain_prob: Share = Field(default=0.0, description="Probability of another level.")
    gain_db: Range = Field(default=(-6.0, 6.0), description="Change of the level in dB.")
    spec: SpecSettings = SpecSettings()

    @model_validator(mode="before")
    @classmethod
    def _over_the_chain(cls, values: Any) -> Any:
        if not isinstance(values, Mapping):
            return values
        return _laid_over(CHAINS.get(values.get("chain", "none"), {}), values)

    @field_validator("gain_db")
    @classmethod
    def _gain_in_order(cls, value: Range) -> Range:
        return _in_order(value)

    @field_validator("babble_files")
    @classmethod
    def _can_babble(cls, value: tuple[int, int]) -> tuple[int, int]:
        if not 1 <= value[0] <= value[1] <= MAX_BABBLE:
            raise ValueError(f"least and most of 1 to {MAX_BABBLE} are wanted, got {list(value)}")
        return value

    @field_validator("speeds")
    @classmethod
    def _are_speeds(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        for speed in value:
            if speed == 1.0 or not is_speed(speed):
                raise ValueError(
                    f"{speed} is no speed from 0.5 to 2.0 in hundredths other than 1.0"
                )
        if len(set(value)) < len(value):
            raise ValueError("a speed is listed twice")
        return value

    @model_validator(mode="after")
    def _pool_is_drawn_one_way(self) -> "AugmentSettings":
        long = set(self.pool) & set(self.by_duration)
        if long and long != set(self.pool):
            rest = ", ".join(kind for kind in self.pool if kind not in long)
            raise ValueError(f"`by_duration` has a part of `pool`: add {rest} or leave all out")
        return self

    @model_validator(mode="after")
    def _has_scenes(self) -> "AugmentSettings":
        if self.prob > 0 and not self.scenes:
            raise ValueError("`prob` is above 0, but all `weights` are 0")
        return self

    @property
    def scenes(self) -> dict[Scene, float]:
        """Scene -> probability, of those that occur; what is left of 1 is clean."""
        weights = {name: float(getattr(self.weights, name)) for name in SCENES}
        total = sum(weights.values())
        if total == 0 or self.prob == 0:
            return {}
        return {name: self.prob * w / total for name, w in weights.items() if w > 0}

    @property
    def changes_waveforms(self) -> bool:
        """Return whether recordings are needed: stored features cannot be augmented so."""
        return bool(self.speeds or self._alters_crops)

    @property
    def is_active(self) -> bool:
        """Return whether a step has anything to do other than speeds."""
        return bool(self._alters_crops or self.spec.prob > 0)

    @property
    def _alters_crops(self) -> bool:
        return bool(self.scenes) or max(self.band.prob, self.codec.prob, self.gain_prob) > 0


# What each system does in training, from its published code; docs/training.md has the table.
CHAINS: dict[str, dict[str, Any]] = {
    "wespeaker": {
        "prob": 0.6,
        "weights": {"noise": 1.0, "reverb": 1.0},
        "pool": ("noise", "speech", "music"),
        "snr": {"noise": (0.0, 15.0), "speech": (10.0, 30.0), "music": (5.0, 15.0)},
        "mix": {"power_floor": 1e-4, "peak_floor": 1e-4},
        "speeds": (0.9, 1.1),
    },
    "3d-speaker": {
        "prob": 0.8,
        "weights": {"noise": 1.0, "reverb": 1.0, "room": 1.0},
        "snr": {"noise": (0.0, 15.0), "room": (0.0, 15.0)},
        "mix": {"power_floor": 1e-6, "peak_floor": 1e-6},
        "speeds": (0.9, 1.1),
    },
    "speaker-net": {
        "prob": 3.1 / 4.1,
        "weights": {"noise": 1.0, "babble": 0.5, "reverb": 0.8, "room": 0.8},
        "pool": ("noise", "music"),
        "snr": {
            "noise": (5.0, 15.0),
            "music": (5.0, 15.0),
            "babble": (13.0, 20.0),
            "room": (0.0, 15.0),
        },
        "by_duration": ("noise", "music", "room_noise"),
        "babble_files": (4, 4),
        "room_noise_prob": 0.5,
        "mix": {"style": "scaled", "babble": "sum", "reverb": "aligned"},
        "speeds": (0.9, 1.1),
    },
    "redimnet2": {
        "prob": 0.6,
        "weights": {"noise": 0.325, "music": 0.1625, "babble": 0.1625, "reverb": 0.1, "room": 0.25},
        "pool": ("noise", "speech"),
        "snr": {
            "noise": (0.0, 15.0),
            "music": (5.0, 15.0),
            "speech": (13.0, 20.0),
            "babble": (13.0, 20.0),
            "room": (0.0, 15.0),
        },
        "babble_files": (3, 6),
        "mix": {"power_floor": 1e-4, "babble": "sum"},
        "speeds": (0.9, 1.1),
    },
    "ecapa-tdnn": {
        "prob": 5.0 / 6.0,
        "weights": {
            "noise": 1.0,
            "music": 1.0,
            "babble": 1.0,
            "television": 1.0,
            "reverb": 1.0,
        },
        "snr": {"noise": (0.0, 15.0), "music": (5.0, 15.0), "babble": (13.0, 20.0)},
        "by_duration": ("noise", "music", "speech"),
        "babble_files": (3, 8),
        "mix": {"power_floor": 1e-4},
        "spec": {
            "prob": 1.0,
            "min_time": 0,
            "max_time": 9,
            "min_freq": 0,
            "max_freq": 7,
            "inside": True,
        },
    },
}


def _laid_over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        inner = merged.get(key)
        both = isinstance(value, Mapping) and isinstance(inner, Mapping)
        merged[key] = _laid_over(inner, value) if both and inner is not None else value
    return merged
