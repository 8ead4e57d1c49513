"""Settings of features, VAD and front-ends; free of torch, so that commands may show them."""

from typing import Literal, Self

from pydantic import Field, model_validator

from sv_cli.errors import SettingsError
from sv_cli.settings.model import Settings, nearest

WindowType = Literal["povey", "hamming", "hanning", "rectangular", "blackman", "sine"]


class FrameSettings(Settings):
    """How a waveform is cut into frames."""

    sample_rate: int = Field(
        default=16000, gt=0, description="Sampling rate in Hz; others are resampled."
    )
    frame_length_ms: float = Field(default=25.0, gt=0, description="Frame length in milliseconds.")
    frame_shift_ms: float = Field(default=10.0, gt=0, description="Frame shift in milliseconds.")
    snip_edges: bool = Field(
        default=True,
        description="Only frames that lie wholly in the waveform; else edges are mirrored.",
    )
    sample_scale: float = Field(
        default=32768.0,
        gt=0,
        description="Factor on samples in [-1, 1]; 32768 is the scale of Kaldi.",
    )
    remove_dc_offset: bool = Field(default=True, description="Subtract the mean of each frame.")

    @property
    def frame_length(self) -> int:
        """Samples in a frame."""
        return int(self.sample_rate * 0.001 * self.frame_length_ms)

    @property
    def frame_shift(self) -> int:
        """Samples from one frame to the next."""
        return int(self.sample_rate * 0.001 * self.frame_shift_ms)

    @property
    def _shortest_frame(self) -> int:
        return 2

    @model_validator(mode="after")
    def _check_frames(self) -> Self:
        if self.frame_length < self._shortest_frame or self.frame_shift < 1:
            raise ValueError("a frame must hold at least 2 samples and move by at least 1")
        return self


class FbankSettings(FrameSettings):
    """Log-Mel filter banks as Kaldi's `compute-fbank-feats` makes them."""

    num_mel_bins: int = Field(default=80, ge=3, description="Number of triangular mel bins.")
    window_type: WindowType = Field(default="povey", description="Window on each frame.")
    low_freq: float = Field(default=20.0, ge=0, description="Lower edge of the mel bins in Hz.")
    high_freq: float = Field(
        default=0.0,
        description="Upper edge in Hz; 0 or less counts down from the Nyquist frequency.",
    )
    preemphasis: float = Field(default=0.97, ge=0, le=1, description="Coefficient of pre-emphasis.")
    dither: float = Field(
        default=0.0, ge=0, description="Standard deviation of noise added to samples."
    )
    blackman_coeff: float = Field(default=0.42, description="Constant of the blackman window.")
    round_to_power_of_two: bool = Field(default=True, description="Pad frames to a power of two.")
    use_power: bool = Field(default=True, description="Power spectrum; else magnitudes.")
    use_log: bool = Field(default=True, description="Logarithm of the mel energies.")
    use_energy: bool = Field(default=False, description="Put the log energy before the mel bins.")
    raw_energy: bool = Field(default=True, description="Energy before pre-emphasis and window.")
    energy_floor: float = Field(
        default=0.0, ge=0, description="Floor of the energy (not its logarithm)."
    )
    subtract_mean: bool = Field(default=False, description="Subtract the mean over the utterance.")

    @property
    def fft_length(self) -> int:
        """Points of the Fourier transform."""
        length = self.frame_length
        return 1 << (length - 1).bit_length() if self.round_to_power_of_two else length

    @property
    def feat_dim(self) -> int:
        """Columns of the features."""
        return self.num_mel_bins + self.use_energy

    @property
    def high_freq_hz(self) -> float:
        """Upper edge of the mel bins in Hz."""
        nyquist = 0.5 * self.sample_rate
        return self.high_freq if self.high_freq > 0 else nyquist + self.high_freq

    @model_validator(mode="after")
    def _check_frequencies(self) -> Self:
        if not self.low_freq < self.high_freq_hz <= 0.5 * self.sample_rate:
            raise ValueError(
                f"low_freq {self.low_freq:g} Hz and high_freq {self.high_freq_hz:g} Hz "
                f"do not fit a sample_rate of {self.sample_rate} Hz"
            )
        if self.fft_length % 2 and self.frame_length > 1:
            raise ValueError("frames of an odd number of samples need round_to_power_of_two")
        return self


class VadSettings(FrameSettings):
    """Energy voice activity detection as Kaldi's `compute-vad`; values of its VoxCeleb recipe."""

    vad_energy_threshold: float = Field(
        default=5.5, description="Constant of the log energy threshold."
    )
    vad_energy_mean_scale: float = Field(
        default=0.5, ge=0, description="Share of the mean log energy added to the threshold."
    )
    vad_proportion_threshold: float = Field(
        default=0.12, gt=0, lt=1, description="Share of frames in the context that must be loud."
    )
    vad_frames_context: int = Field(default=2, ge=0, description="Frames of context on each side.")


class FrontendSettings(FbankSettings):
    """A named front-end: everything between the samples and the input of a model.

    `dither` acts in training only. `kind` is "fbank" (Kaldi), "mel" (centred frames), "tfmel"
    (ReDimNet2's; see `features.tfmel`) or "waveform": the samples themselves, one a frame, for
    networks that learn their front-end. The last four fields are for mel; tfmel has the first two.
    """

    kind: Literal["fbank", "mel", "tfmel", "waveform"] = Field(
        default="fbank", description="Family of the front-end."
    )
    mean_norm: bool = Field(
        default=True, description="Subtract the mean over time from each column."
    )
    var_norm: bool = Field(
        default=False, description="Divide each column by its deviation over time, after the mean."
    )
    preemphasis_start: Literal["zero", "reflect"] = Field(
        default="zero", description="Sample before the first one (kinds mel and tfmel)."
    )
    signal_norm: bool = Field(
        default=False,
        description="Subtract the mean of the whole waveform and divide by its deviation first "
        "(kinds mel and tfmel).",
    )
    pad_mode: Literal["reflect", "constant"] = Field(
        default="reflect", description="Padding of centred frames (kind mel)."
    )
    mel_style: Literal["htk", "speechbrain"] = Field(
        default="htk",
        description="HTK's triangles and log(x + 1e-6), or SpeechBrain's in decibels (kind mel).",
    )

    @property
    def frame_length(self) -> int:
        """Samples in a frame."""
        return 1 if self.kind == "waveform" else super().frame_length

    @property
    def frame_shift(self) -> int:
        """Samples from one frame to the next."""
        return 1 if self.kind == "waveform" else super().frame_shift

    @property
    def _shortest_frame(self) -> int:
        return 1 if self.kind == "waveform" else 2

    @property
    def feat_dim(self) -> int:
        """Columns of the features."""
        return 1 if self.kind == "waveform" else super().feat_dim

    @model_validator(mode="after")
    def _check_kind(self) -> Self:
        if self.kind == "waveform" and (self.dither or self.use_energy or self.mean_norm):
            raise ValueError("samples (kind waveform) have no dither, energy or mean norm")
        if self.var_norm and not self.mean_norm:
            raise ValueError("`var_norm` needs `mean_norm`")
        if self.kind in ("mel", "tfmel"):
            self._check_mel()
        elif self.signal_norm:
            raise ValueError("`signal_norm` needs a front-end of kind mel or tfmel")
        return self

    def _check_mel(self) -> None:
        if self.dither or self.use_energy:
            raise ValueError(f"a front-end of kind {self.kind} has neither dither nor energy")
        if self.window_type not in ("hamming", "hanning"):
            raise ValueError(f"a front-end of kind {self.kind} has a hamming or hanning window")


SAMPLE_MS = 0.0625  # at 16 kHz
_MEL = FrontendSettings(kind="mel", window_type="hamming", sample_scale=1.0, low_freq=0.0)
FRONTENDS: dict[str, FrontendSettings] = {
    "wespeaker": FrontendSettings(window_type="hamming", dither=1.0),
    "wespeaker-60": FrontendSettings(window_type="hamming", dither=1.0, num_mel_bins=60),
    "wespeaker-72": FrontendSettings(window_type="hamming", dither=1.0, num_mel_bins=72),
    "3dspeaker": FrontendSettings(window_type="povey", sample_scale=1.0),
    # RDINO and SDPN; their instance norm is here, not in the network.
    "3dspeaker-ssl": _MEL.model_copy(
        update={"window_type": "hanning", "preemphasis": 0.0, "var_norm": True}
    ),
    "speaker-net": _MEL,
    "speaker-net-kaldi": FrontendSettings(use_energy=True),
    "taoruijie": _MEL.model_copy(
        update={"low_freq": 20.0, "high_freq": 7600.0, "preemphasis_start": "reflect"}
    ),
    # ReDimNet2's.
    "tfmel": _MEL.model_copy(
        update={
            "kind": "tfmel",
            "low_freq": 20.0,
            "high_freq": 7600.0,
            "num_mel_bins": 72,
            "preemphasis_start": "reflect",
            "signal_norm": True,
        }
    ),
    "speechbrain": _MEL.model_copy(
        update={
            "preemphasis": 0.0,
            "round_to_power_of_two": False,
            "pad_mode": "constant",
            "mel_style": "speechbrain",
        }
    ),
    # Inputs of self-supervised networks: WavLM hears samples; w2v-BERT normalises on its own.
    "waveform": FrontendSettings(
        kind="waveform",
        frame_length_ms=SAMPLE_MS,
        frame_shift_ms=SAMPLE_MS,
        sample_scale=1.0,
        mean_norm=False,
    ),
    "w2vbert": FrontendSettings(mean_norm=False),
}


def find_frontend(name: str) -> FrontendSettings:
    """Return a named front-end.

    Raises
    ------
    SettingsError
        When there is none of that name; the message names the nearest one.
    """
    if name not in FRONTENDS:
        raise SettingsError(f"front-end `{name}` is not known{nearest(name, FRONTENDS)}")
    return FRONTENDS[name]


def frontend_name(settings: FrontendSettings) -> str:
    """Return the name of a front-end, or `custom`."""
    names = (name for name, known in FRONTENDS.items() if known == settings)
    return next(names, "custom")
