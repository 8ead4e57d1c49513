"""What a batch is made of, and what an epoch takes of each utterance; free of torch."""

from typing import Literal, Self

from pydantic import Field, model_validator

from sv_cli.settings.model import Settings


class DataSettings(Settings):
    """What a batch is made of."""

    source: Literal["auto", "wav", "feats"] = Field(
        default="auto",
        description="Crops from recordings or from feats.scp; auto takes wav.scp if there.",
    )
    chunk_seconds: float = Field(default=2.015, gt=0, description="Length of a crop in seconds.")
    min_seconds: float = Field(
        default=0.5,
        ge=0,
        description="Shorter utterances are left out; others are filled up to length.",
    )
    min_speaker_seconds: float = Field(
        default=0.0,
        ge=0,
        description="Speakers with less speech in the utterances that are left are left out, too.",
    )
    max_seconds: float = Field(
        default=0.0,
        ge=0,
        description="Of longer utterances a stretch of this length is drawn first, and the crop "
        "out of it, so that their ends are heard more seldom; 0 draws out of the whole.",
    )
    crops: Literal["one", "by_length", "grid"] = Field(
        default="one",
        description="What an epoch takes of an utterance. one: a crop anywhere. by_length: a crop "
        "anywhere for every crop_hop_seconds of it, at least one. grid: crops that begin every "
        "crop_hop_seconds.",
    )
    crop_hop_seconds: float = Field(
        default=0.0,
        ge=0,
        description="Seconds of an utterance to a crop of by_length and grid; 0 is chunk_seconds.",
    )
    crop_min_tail_seconds: float = Field(
        default=0.0,
        ge=0,
        description="The last chunk_seconds of an utterance are a crop of grid, too, where more "
        "than this follows the place at which another one would begin.",
    )
    crops_per_epoch: int = Field(
        default=0,
        ge=0,
        description="Crops that make an epoch, drawn again each time, or in several passes where "
        "there are fewer; 0 takes all once.",
    )
    padding: Literal["repeat", "zeros"] = Field(
        default="repeat", description="What fills up utterances that are shorter than a crop."
    )
    min_level: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="A crop whose mean magnitude is below this share of full scale is taken "
        "elsewhere in its utterance; 0 takes all.",
    )
    silence_threshold: float = Field(
        default=0.0,
        ge=0,
        description="Cut out windows of 0.1 s below this mean magnitude in 16-bit steps before "
        "crops are taken, 50 as asv-subtools; 0 keeps all and reads by seek.",
    )
    num_workers: int = Field(
        default=-1,
        ge=-1,
        description="Reading processes; -1 chooses by the cores, 0 reads in line.",
    )

    @property
    def hop_seconds(self) -> float:
        """Seconds of an utterance to a crop."""
        return self.crop_hop_seconds or self.chunk_seconds

    @model_validator(mode="after")
    def _check_places(self) -> Self:
        if self.crops == "grid" and self.silence_threshold > 0:
            raise ValueError("`crops` grid counts from the start, `silence_threshold` cuts it out")
        if self.crops == "grid" and self.max_seconds > 0:
            raise ValueError("`crops` grid takes all of an utterance, `max_seconds` a part")
        if 0 < self.max_seconds < self.min_seconds:
            raise ValueError("`max_seconds` is below `min_seconds`")
        return self
