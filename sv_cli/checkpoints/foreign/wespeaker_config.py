"""What WeSpeaker's `config.yaml` next to the weights says, where it is there and can be read.

Keys and shapes are enough but for poolings that learn nothing, and for the front-end's settings.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sv_cli import logs
from sv_cli.checkpoints.foreign.redimnet_frontend import read_frontend
from sv_cli.errors import CheckpointError
from sv_cli.features.settings import FrontendSettings
from sv_cli.settings.model import build_settings

CONFIG_NAME = "config.yaml"
UNLEARNED_POOLINGS = ("TSTP", "TAP", "TSDP")
FRONTENDS = ("fbank", "s3prl", "w2vbert", "tfmel")
# Ours -> theirs, in `dataset_args.fbank_args`.
FBANK_ARGUMENTS = {
    "num_mel_bins": "num_mel_bins",
    "frame_length_ms": "frame_length",
    "frame_shift_ms": "frame_shift",
}


@dataclass(frozen=True)
class WespeakerConfig:
    """The parts of a configuration that matter: of the network, the data and the classifier."""

    path: Path
    model: str
    model_args: Mapping[str, Any] = field(default_factory=dict)
    dataset_args: Mapping[str, Any] = field(default_factory=dict)
    projection_args: Mapping[str, Any] = field(default_factory=dict)

    @property
    def frontend_args(self) -> Mapping[str, Any]:
        """Arguments of a learned front-end."""
        return self.dataset_args.get(f"{self.dataset_args.get('frontend')}_args") or {}

    @property
    def subcenters(self) -> int | None:
        """Rows of the classifier per class; None where the file has no section of it."""
        kind = self.projection_args.get("project_type")
        if kind is None:
            return None
        return int(self.projection_args.get("K", 3)) if "subcenter" in kind else 1

    @property
    def subtracts_mean(self) -> bool:
        """Whether the mean over time is subtracted from the features."""
        return bool(self.dataset_args.get("cmvn", True)) and bool(self._cmvn.get("norm_mean", True))

    @property
    def takes_fbank(self) -> bool:
        """Whether the features are Kaldi's filter banks."""
        return bool(self.dataset_args.get("frontend", "fbank") == "fbank")

    @property
    def _cmvn(self) -> Mapping[str, Any]:
        return self.dataset_args.get("cmvn_args") or {}

    def adjust(self, choices: Mapping[str, Any]) -> dict[str, Any]:
        """Return the choices read from shapes, with what the configuration adds to them.

        Raises
        ------
        CheckpointError
            When it is the configuration of another network.
        """
        adjusted = dict(choices)
        pooling = self.model_args.get("pooling_func")
        unlearned = adjusted.get("pooling", "TSTP") in UNLEARNED_POOLINGS
        if pooling in UNLEARNED_POOLINGS[1:] and unlearned:
            # Means or deviations alone: half the values of TSTP for the same features.
            twice = 1 if "pooling" in adjusted else 2
            adjusted |= {"pooling": pooling, "feat_dim": twice * adjusted["feat_dim"]}
        for ours, theirs in (("feat_dim", "feat_dim"), ("embedding_dim", "embed_dim")):
            said = self.model_args.get(theirs, adjusted[ours])
            if said != adjusted[ours]:
                raise CheckpointError(
                    f"`{self.path}`: {theirs} is {said}, but the weights have {adjusted[ours]}",
                    hint="move the file away to import by keys and shapes alone",
                )
        return adjusted

    def frontend(self, settings: FrontendSettings) -> FrontendSettings:
        """Return the front-end with the configuration's sizes.

        Raises
        ------
        CheckpointError
            When the features are none that svtool computes.
        """
        data = self.dataset_args
        kind = data.get("frontend", "fbank")
        if kind not in FRONTENDS or self._cmvn.get("norm_var"):
            what = f"frontend {kind}" if kind not in FRONTENDS else "variance normalisation"
            raise CheckpointError(
                f"`{self.path}`: {what} is no front-end of svtool",
                hint="`--frontend NAME` takes another at your own risk",
            )
        if kind == "tfmel":
            params = dict(self.frontend_args)
            return read_frontend(
                "tf",
                hop_length=params.pop("hop_length", 160),
                num_mel_bins=params.pop("n_mels", settings.num_mel_bins),
                params=params,
                what=f"`{self.path}`: tfmel_args",
            )
        fbank = data.get("fbank_args") or {} if kind == "fbank" else {}
        values = {
            ours: fbank[theirs] for ours, theirs in FBANK_ARGUMENTS.items() if theirs in fbank
        }
        values["sample_rate"] = data.get("resample_rate", settings.sample_rate)
        if kind == "fbank":
            values["mean_norm"] = self.subtracts_mean
        merged = {**settings.model_dump(), **values}
        return build_settings(FrontendSettings, merged, where=str(self.path))


def read_config(weights: Path) -> WespeakerConfig | None:
    """Return WeSpeaker's configuration in the folder of the weights (or the one above), or none."""
    for folder in (weights.parent, weights.parent.parent):
        path = folder / CONFIG_NAME
        if path.is_file():
            return _parse(path)
    return None


def _parse(path: Path) -> WespeakerConfig | None:
    try:
        import yaml
    except ImportError:
        logs.info(f"`{path}` is not read: PyYAML is not installed")
        return None
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, OSError, UnicodeDecodeError) as error:
        raise CheckpointError(f"`{path}`: not a YAML file: {str(error).splitlines()[0]}") from error
    if not isinstance(content, dict) or not isinstance(content.get("model"), str):
        return None
    names = ("model_args", "dataset_args", "projection_args")
    parts = {key: content.get(key) or {} for key in names}
    if not all(isinstance(part, dict) for part in parts.values()):
        return None
    return WespeakerConfig(path, content["model"], **parts)
