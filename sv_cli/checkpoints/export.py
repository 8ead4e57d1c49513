"""A model as an ONNX graph from waveform to embedding, checked against the model itself."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from sv_cli import logs
from sv_cli.atomic import atomic_path
from sv_cli.audio.read import read_waveform
from sv_cli.checkpoints.model_file import LoadedModel, load_model
from sv_cli.checkpoints.onnx_graph import (
    EMBEDDING,
    WAVEFORM,
    check_packages,
    make_graph,
    open_session,
)
from sv_cli.errors import AudioError, CheckpointError
from sv_cli.features.frontend import Frontend

# Batch and length of the noise that every export is compared on.
_NOISE = ((1, 2.0), (3, 3.3), (1, 0.5))
Waveforms = NDArray[np.float32]


@dataclass(frozen=True)
class Exported:
    """What was written: largest relative difference, bytes, and on how many waveforms."""

    difference: float
    num_bytes: int
    num_waveforms: int


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
        Recordings to compare on, in addition to noise.
    tolerance : float
        Largest difference allowed, relative to the largest value of the embedding.

    Raises
    ------
    CheckpointError
        When the packages are missing, the network cannot be exported, or the embeddings differ.
    AudioError
        When a recording cannot be read or is too short.
    """
    check_packages()
    if not audio:
        logs.info("no --parity recordings: comparing on seeded noise")
    loaded = load_model(spec)
    waveforms = [*(_read(path, loaded) for path in audio), *_draw_noise(loaded)]
    with atomic_path(out) as temporary:
        graph = make_graph(loaded, _metadata(loaded))
        temporary.write_bytes(graph.SerializeToString())
        difference = _compare(temporary, loaded, waveforms)
        if not difference <= tolerance:
            raise CheckpointError(
                f"onnxruntime differs from the model by {difference:.2g},"
                f" more than the tolerance of {tolerance:g}"
            )
        num_bytes = temporary.stat().st_size
    return Exported(difference, num_bytes, len(waveforms))


def _read(path: str, loaded: LoadedModel) -> Waveforms:
    """Return a recording (1, num_samples) that has enough frames."""
    waveform, _ = read_waveform(path, sample_rate=loaded.frontend.sample_rate)
    count = Frontend(loaded.frontend).num_frames(len(waveform))
    if count < loaded.encoder.min_frames:
        raise AudioError(
            f"`{path}`: {count} frames are too few, the network needs {loaded.encoder.min_frames}"
        )
    return waveform[None]


def _draw_noise(loaded: LoadedModel) -> list[Waveforms]:
    """Return noise (batch, num_samples) of several batches and lengths, long enough to embed."""
    draw = np.random.default_rng(0)
    settings = loaded.frontend
    least = loaded.encoder.min_frames * settings.frame_shift + settings.frame_length
    lengths = [max(least, round(seconds * settings.sample_rate)) for _, seconds in _NOISE]
    return [
        (0.1 * draw.standard_normal((batch, length))).astype(np.float32)
        for (batch, _), length in zip(_NOISE, lengths, strict=True)
    ]


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
    session = open_session(path)
    frontend = Frontend(loaded.frontend).eval()
    differences = []
    for waveform in waveforms:
        with torch.inference_mode():
            wanted = loaded.encoder(frontend(torch.from_numpy(waveform))).numpy()
        (found,) = session.run([EMBEDDING], {WAVEFORM: waveform})
        if found.shape != wanted.shape:
            raise CheckpointError(f"onnxruntime gives {found.shape} instead of {wanted.shape}")
        differences.append(float(np.abs(found - wanted).max() / np.abs(wanted).max()))
    return float(np.max(differences))  # NaN stays, and is refused
