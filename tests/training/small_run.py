"""The settings of the smallest run that trains."""

from sv_cli.settings.model import build_settings
from sv_cli.training.settings import TrainSettings

SMALL = {
    "model": "ecapa_glob_c512",
    "model_options": {"channels": 16, "embedding_dim": 8},
    "batch_size": 4,
    "num_epochs": 1,
    "data": {"chunk_seconds": 0.6, "num_workers": 0},
    "engine": {"precision": "fp32"},
}


def small_run(**changes: object) -> TrainSettings:
    """Return the settings with some of them changed."""
    return build_settings(TrainSettings, {**SMALL, **changes})
