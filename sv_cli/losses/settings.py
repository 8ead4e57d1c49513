"""What each loss lets the user choose; free of torch."""

from typing import Literal

from pydantic import Field

from sv_cli.settings.model import Settings


class SoftmaxSettings(Settings):
    """Linear layer and cross-entropy."""

    label_smoothing: float = Field(0.0, ge=0, lt=1, description="Share spread over all classes.")
    normalize_input: bool = Field(
        False, description="Batch norm and ReLU before the linear layer, as WeSpeaker has it."
    )


class MarginSettings(Settings):
    """Additive margin on the cosine (AM)."""

    scale: float = Field(32.0, gt=0, description="Scale of the cosines.")
    margin: float = Field(0.2, ge=0, description="Margin of the target class.")
    subcenters: int = Field(1, ge=1, description="Centres a class; the nearest counts.")
    topk: int = Field(0, ge=0, description="Nearest other classes that are pushed away further.")
    topk_margin: float = Field(0.0, ge=0, description="Margin of those classes.")
    topk_follows_margin: bool = Field(
        False, description="topk_margin is meant at margin 0.2 and scales with the margin."
    )


class AngularSettings(MarginSettings):
    """Additive margin on the angle (AAM)."""

    easy_margin: bool = Field(False, description="Margin only where the cosine is positive.")
    fallback: Literal["wespeaker", "classic"] = Field(
        "wespeaker",
        description="Beyond pi - m: c - (1 - cos m), or classic c - m sin m.",
    )


class SphereFace2Settings(Settings):
    """One binary problem a class."""

    scale: float = Field(32.0, gt=0, description="Scale of the similarity.")
    margin: float = Field(0.2, ge=0, description="Margin on both sides.")
    margin_type: Literal["C", "A"] = Field("C", description="On the similarity, or on the angle.")
    power: float = Field(3.0, gt=0, description="Exponent t of the similarity adjustment.")
    target_weight: float = Field(
        0.7, gt=0, lt=1, description="Weight lambda of the target class against all others."
    )


class HyperbolicSettings(Settings):
    """Additive margin on the hyperbolic distance (HAM)."""

    scale: float = Field(32.0, gt=0, description="Scale of the distances.")
    margin: float = Field(0.2, ge=0, description="Margin added to the distance of the target.")
    curvature: float = Field(
        3.0, gt=0, description="c: embeddings and classes stay within 1 / sqrt(c)."
    )


class SphereSettings(Settings):
    """A-softmax with its fixed margin of 4."""
