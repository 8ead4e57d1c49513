"""Settings of the PLDA commands; imports no arrays, so that `--help` stays quick."""

from typing import Literal

from pydantic import Field

from sv_cli.settings.model import Settings

LengthNorm = Literal["psi", "simple", "none"]


class PldaSettings(Settings):
    """How a PLDA is trained, and its preprocessing."""

    center: bool = Field(False, description="Subtract the mean of the training embeddings.")
    lda_dim: int | None = Field(None, ge=1, description="Dimensions after LDA.")
    total_covariance_factor: float = Field(
        0.0, ge=0, le=1, description="Share of the total covariance in what LDA makes unit."
    )
    whiten: bool = Field(False, description="Make the total covariance unit, in place of LDA.")
    length_norm: bool = Field(False, description="Scale to sqrt(dim) before the PLDA.")
    num_iters: int = Field(10, ge=1, description="Iterations of expectation-maximisation.")


class AdaptSettings(Settings):
    """How the variance that a PLDA does not explain is shared out, under Kaldi's names."""

    within_covar_scale: float = Field(
        0.3, ge=0, description="Share of the excess given to the within-speaker covariance."
    )
    between_covar_scale: float = Field(
        0.7, ge=0, description="Share of the excess given to the between-speaker covariance."
    )
    mean_diff_scale: float = Field(
        1.0, ge=0, description="Weight of the shift of the mean, counted as variance."
    )
