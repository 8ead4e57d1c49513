"""Settings of `svtool score-job`; free of torch, so that commands may show them."""

import math
from typing import Literal

from pydantic import Field, field_validator

from sv_cli.extraction.settings import ExtractSettings
from sv_cli.settings.model import Settings


class JobSettings(Settings):
    """What is scored against what, and where the results go."""

    model: str = Field(description="Model file or experiment directory.")
    recordings: str = Field(
        description="Directory to watch, with all below it; or a wav.scp, or a data directory."
    )
    enroll: str = Field(description="Embeddings of the enrolled set.")
    out: str = Field(description="Directory of the results, the state and the summary.")
    suffixes: tuple[str, ...] = Field(
        default=(".wav", ".flac", ".ogg", ".opus", ".mp3", ".sph"),
        description="Files of a watched directory that are recordings.",
    )
    trials: str = Field(
        default="all",
        description="`all`: every new recording with everyone enrolled; or a list of pairs "
        "`enroll test`, and recordings that it does not name are left.",
    )
    enroll_spk2utt: str | None = Field(
        default=None, description="Enrolment models and their utterances in `enroll`."
    )
    submean: str | None = Field(
        default=None, description="Mean to subtract: embeddings of a training set, or a vector."
    )
    cohort: str | None = Field(
        default=None, description="Embeddings of a cohort: scores are normalised (AS-norm)."
    )
    top_n: int = Field(default=300, ge=2, description="Cohort members kept by AS-norm.")
    calibration: str | None = Field(default=None, description="What `calibrate train` wrote.")
    threshold: float | str | None = Field(
        default=None,
        description="A number, or what `calibrate threshold` wrote: rows end in accept or reject.",
    )
    settle_seconds: float = Field(
        default=10.0,
        ge=0,
        description="Files that changed more recently, in seconds, are left for the next run.",
    )
    max_attempts: int = Field(
        default=3, ge=1, description="Runs that try a recording which cannot be read."
    )
    commit_every: int = Field(
        default=50, ge=1, description="Recordings between two commits: what a kill can cost."
    )
    num_procs: int = Field(default=1, ge=1, description="Worker processes.")
    device: Literal["auto", "cpu", "cuda"] = Field(default="auto", description="Where to compute.")
    audio_root: str | None = Field(
        default=None, description="Where relative paths in a wav.scp start."
    )
    extract: ExtractSettings = Field(
        default=ExtractSettings(), description="How embeddings are computed, as in `extract`."
    )

    @field_validator("threshold")
    @classmethod
    def _check_threshold(cls, value: float | str | None) -> float | str | None:
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"{value} accepts or rejects every row; give a finite number")
        return value
