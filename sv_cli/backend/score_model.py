"""What every trained score model stores."""

from typing import Any, ClassVar

from pydantic import Field

from sv_cli.settings.model import Settings

VERSION = 1


class ScoreModel(Settings):
    """What every trained score model records; a subclass names its `kind` and its numbers."""

    kind_name: ClassVar[str] = ""

    kind: str
    version: int = Field(default=VERSION, ge=VERSION, le=VERSION)
    lineage: dict[str, Any] | None = Field(
        default=None, description="lineage of the scores it was trained on: model and steps"
    )
    num_target: int = Field(ge=0)
    num_nontarget: int = Field(ge=0)
