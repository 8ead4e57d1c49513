"""Settings of extraction; free of torch, so that commands may show them."""

from typing import Any, Literal

from pydantic import Field, field_validator

from sv_cli.settings.model import Settings
from sv_cli.settings.speeds import is_speed

Precision = Literal["auto", "fp32", "bf16"]


class ExtractSettings(Settings):
    """How embeddings are computed from recordings or features."""

    precision: Precision = Field(
        default="auto",
        description="Type of the trunk; auto: bf16 where the processor gains by it and the "
        "cosine to fp32 stays above 0.9999, else fp32.",
    )
    batch_size: int = Field(
        default=0,
        ge=0,
        description="Most utterances of equal length at once; 0: 1 on a CPU (its caches like "
        "that best), 32 on a GPU.",
    )
    max_seconds: float = Field(
        default=120.0,
        ge=0,
        description="Longer utterances are cut into equal chunks whose embeddings are averaged "
        "by their frames; 0: never.",
    )
    short: Literal["repeat", "skip"] = Field(
        default="repeat",
        description="Utterances with fewer frames than the network needs: repeat the frames, or "
        "skip and count.",
    )
    crops: int = Field(
        default=0,
        ge=0,
        description="Also embed this number of crops over the recording, and join their mean to "
        "the embedding of the whole: vectors to be scored by their inner product.",
    )
    crop_seconds: float = Field(
        default=3.015, ge=0.1, description="Length of a crop; shorter recordings are repeated."
    )
    speed: float = Field(
        default=1.0,
        description="Play recordings at this speed: another view of each speaker for a "
        "network that was trained with speeds.",
    )
    mean_norm: bool = Field(
        default=True,
        description="Give features read from a table the model's mean normalisation.",
    )
    min_speech: float = Field(
        default=0.1,
        ge=0,
        description="Refuse recordings with less speech, in seconds: blocks of 20 ms within 30 dB "
        "of the loudest. Features are not checked for signal.",
    )
    min_level: float = Field(
        default=-70.0,
        ge=-190,
        le=0,
        description="Refuse recordings whose speech has a lower RMS, in dBFS; digital silence and "
        "a constant are always refused.",
    )
    max_clipped: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="Refuse recordings of which a larger share of the samples is at full scale.",
    )
    num_readers: int = Field(
        default=2, ge=1, description="Threads that read recordings ahead of the network."
    )

    @field_validator("speed")
    @classmethod
    def _can_be_played(cls, value: float) -> float:
        if not is_speed(value):
            raise ValueError(f"{value:g} is no speed from 0.5 to 2 in hundredths")
        return value

    def identity(self) -> dict[str, Any]:
        """Return the settings that an embedding follows from."""
        idle = {"num_readers"}
        if not self.crops:
            idle |= {"crops", "crop_seconds"}
        if self.speed == 1.0:
            idle.add("speed")
        # At their defaults these leave out no ordinary recording.
        limits = ("min_speech", "min_level", "max_clipped")
        defaults = type(self).model_fields
        idle |= {name for name in limits if getattr(self, name) == defaults[name].default}
        return self.model_dump(mode="json", exclude=idle)
