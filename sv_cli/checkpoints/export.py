"""A model as an ONNX graph from waveform to embedding, checked against the model itself."""

import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sv_cli import logs
from sv_cli.atomic import atomic_path
from sv_cli.audio.read import read_waveform
from sv_cli.checkpoints.export_frontend import exportable_frontend
from sv_cli.checkpoints.model_file import LoadedModel, load_model
from sv_cli.errors import AudioError, CheckpointError
from sv_cli.features.frontend import Frontend

PACKAGES = ("onnx", "onnxscript", "onnxruntime")
_SYNTHETIC_SECONDS = (2.0, 3.3)
Waveforms = NDArray[np.float32]


@dataclass(frozen=True)
class Exported:
    """What was written: largest relative difference, bytes, and on how many waveforms."""

    difference: float
    num_bytes: int
    num_waveforms: int


class WaveformNetwork(nn.Module):
    """Front-end and network in one: (batch, num_samples) -> (batch, embedding_dim)."""

    def __init__(self, loaded: LoadedModel) -> None:
        super().__init__()
        self.frontend = exportable_frontend(loaded.frontend)
        self.encoder = loaded.encoder

    def forward(self, waveform: Tensor) -> Tensor:
        """Return embeddings, not length-normalised."""
        embeddings: Tensor = self.encoder(self.frontend(waveform))
        return embeddings


def export_onnx(
    spec: str | Path, out: str | Path, *, audio: Sequence[str] = (), tolerance: float = 1e-4
) -> Exported:
    """Write a model as an ONNX file, unless onnxruntime gives other embeddings than the model.

    Parameters
    ----------
    spec : str or Path
        MODEL.
    out : str or Path
        File to write; it appears whole or not at all.
    audio : sequence of str
        Recordings to compare on; noise without them.
    tolerance : float
        Largest difference allowed, relative to the largest value of the embedding.

    Raises
    ------
    CheckpointError
        When the packages are missing, the network cannot be exported, or the embeddings differ.
    AudioError
        When a recording cannot be read or is too short.
    """
    _check_packages()
    loaded = load_model(spec)
    waveforms = [_read(path, loaded) for path in audio] or _synthetic(loaded)
    with atomic_path(out) as temporary:
        program = _convert(loaded, waveforms[0])
        program.model.metadata_props.update(_metadata(loaded))
        program.save(temporary, external_data=False)
        difference = _compare(temporary, loaded, waveforms)
        if not difference <= tolerance:
            raise CheckpointError(
                f"onnxruntime differs from the model by {difference:.2g},"
                f" more than the tolerance of {tolerance:g}"
            )
        num_bytes = temporary.stat().st_size
    return Exported(difference, num_bytes, len(waveforms))


def _check_packages() -> None:
    from importlib.util import find_spec

    missing = [name for name in PACKAGES if find_spec(name) is None]
    if missing:
        raise CheckpointError(
            f"needs the packages {', '.join(missing)}", hint="pip install 'svtool[onnx]'"
        )


def _read(path: str, loaded: LoadedModel) -> Waveforms:
    """Return a recording (1, num_samples) that has enough frames."""
    waveform, _ = read_waveform(path, sample_rate=loaded.frontend.sample_rate)
    count = Frontend(loaded.frontend).num_frames(len(waveform))
    if count < loaded.encoder.min_frames:
        raise AudioError(
            f"`{path}`: {count} frames are too few, the network needs {loaded.encoder.min_frames}"
        )
    return waveform[None]


def _synthetic(loaded: LoadedModel) -> list[Waveforms]:
    """Return noise: one waveform, and a batch of two of another length."""
    logs.info("no --parity recordings: comparing on seeded noise")
    draw = np.random.default_rng(0)
    lengths = [round(seconds * loaded.frontend.sample_rate) for seconds in _SYNTHETIC_SECONDS]
    return [
        (0.1 * draw.standard_normal((batch, length))).astype(np.float32)
        for batch, length in zip((1, 2), lengths, strict=True)
    ]


def _convert(loaded: LoadedModel, example: Waveforms) -> Any:
    """Return torch's ONNX program of dynamic batch and length."""
    # A batch of one would be taken for a constant.
    sample = torch.from_numpy(np.concatenate([example[:1, :32000]] * 2))
    dynamic = torch.export.Dim.DYNAMIC
    network = WaveformNetwork(loaded).eval().requires_grad_(False)
    try:
        with _quiet():
            return torch.onnx.export(
                network,
                (sample,),
                dynamo=True,
                input_names=["waveform"],
                output_names=["embedding"],
                dynamic_shapes=({0: dynamic, 1: dynamic},),
                verbose=False,
            )
    except torch.onnx.errors.OnnxExporterError as error:
        reason = str(error.__cause__ or error).strip().splitlines()[0]
        raise CheckpointError(f"`{loaded.info.model}`: cannot be exported: {reason}") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's remarks about packages and its own internals to itself."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _metadata(loaded: LoadedModel) -> Mapping[str, str]:
    info = loaded.info
    return {
        "model": info.model,
        "model_hash": info.model_hash,
        "frontend": info.frontend,
        "frontend_settings": loaded.frontend.model_dump_json(),
        "sample_rate": str(info.sample_rate),
        "embedding_dim": str(info.embedding_dim),
        "min_frames": str(loaded.encoder.min_frames),
    }


def _compare(path: Path, loaded: LoadedModel, waveforms: Sequence[Waveforms]) -> float:
    """Return the largest difference of onnxruntime to the model, relative to its largest value."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    frontend = Frontend(loaded.frontend).eval()
    differences = []
    for waveform in waveforms:
        with torch.inference_mode():
            wanted = loaded.encoder(frontend(torch.from_numpy(waveform))).numpy()
        (found,) = session.run(["embedding"], {"waveform": waveform})
        if found.shape != wanted.shape:
            raise CheckpointError(f"onnxruntime gives {found.shape} instead of {wanted.shape}")
        differences.append(float(np.abs(found - wanted).max() / np.abs(wanted).max()))
    return float(np.max(differences))  # NaN stays, and is refused
