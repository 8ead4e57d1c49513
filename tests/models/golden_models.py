"""Recorded embeddings of other projects' networks, and the weights they were recorded with.

Every tensor is a function of its state-dict key and shape alone, so that a network that keeps the
keys (or knows the renames) is filled as the recorded one was.
"""

import gzip
import hashlib
import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sv_cli.models.protocol import SpeakerEncoder

GOLDEN = Path(__file__).parent.parent / "golden" / "models"
TOLERANCE = 1e-4  # of the largest absolute value of the embeddings

Rename = Callable[[str], str]


def load_golden(name: str) -> dict[str, Any]:
    """`name` as in tests/golden/models, e.g. modelscope_3D-Speaker-eres2net-base-192."""
    golden: dict[str, Any] = json.loads((GOLDEN / f"{name}.json").read_text())
    return golden


def read_golden(path: Path) -> dict[str, Any]:
    """A gzipped record with all its shapes."""
    content: dict[str, Any] = json.loads(gzip.decompress(path.read_bytes()))
    return content


def fill(key: str, shape: tuple[int, ...]) -> np.ndarray:
    rng = np.random.Generator(np.random.PCG64(zlib.crc32(key.encode())))
    leaf = key.rsplit(".", 1)[-1]
    if leaf == "num_batches_tracked":
        return np.zeros(shape, np.int64)
    if leaf == "running_var":
        return rng.uniform(0.5, 1.5, shape).astype(np.float32)
    if leaf == "running_mean":
        return (0.1 * rng.standard_normal(shape)).astype(np.float32)
    if len(shape) >= 2:
        fan_in = int(np.prod(shape[1:]))
        return (rng.standard_normal(shape) / np.sqrt(fan_in)).astype(np.float32)
    if leaf == "weight":
        return rng.uniform(0.5, 1.0, shape).astype(np.float32)
    return (0.1 * rng.standard_normal(shape)).astype(np.float32)


def features(frames: int, dim: int, batch: int, seed: int) -> torch.Tensor:
    rng = np.random.Generator(np.random.PCG64(seed))
    noise = rng.standard_normal((batch, frames, dim))
    profile = 2.0 * rng.standard_normal((batch, 1, dim))
    return torch.from_numpy((noise + profile).astype(np.float32))


def same(key: str) -> str:
    return key


def fill_encoder(encoder: SpeakerEncoder, rename: Rename = same) -> SpeakerEncoder:
    """Fill with the recorded weights; `rename` gives the other project's name of our key."""
    state = {
        key: torch.from_numpy(fill(rename(key), tuple(value.shape)))
        for key, value in encoder.state_dict().items()
    }
    encoder.load_state_dict(state)
    return encoder.eval()


def hash_keys(encoder: SpeakerEncoder, rename: Rename = same) -> str:
    """Hash of all state-dict keys (renamed) and shapes."""
    state = encoder.state_dict()
    lines = sorted(f"{rename(key)} {list(value.shape)}" for key, value in state.items())
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def golden_difference(encoder: SpeakerEncoder, case: dict[str, Any]) -> tuple[float, float]:
    """Largest difference, of the rows and of the difference of the two rows, over the largest."""
    feats = features(case["frames"], encoder.feat_dim, case["batch"], case["seed"])
    with torch.inference_mode():
        got = encoder(feats * case.get("scale", 1.0)).numpy()
    expected = np.array(case["embedding"])
    got = got[:, : expected.shape[1]]
    rows = np.abs(got - expected).max()
    contrast = np.abs((got[0] - got[1]) - (expected[0] - expected[1])).max()
    return float(rows / case["largest"]), float(contrast / case["largest"])


def check_golden(encoder: SpeakerEncoder, name: str, rename: Rename = same) -> None:
    """Hold keys, shapes, parameter count and every recorded embedding of `name`."""
    golden = load_golden(name)
    assert sum(p.numel() for p in encoder.parameters()) == golden["parameters"]
    assert encoder.embedding_dim == golden["embedding_dim"]
    assert hash_keys(encoder, rename) == golden["keys_sha256"]
    fill_encoder(encoder, rename)
    for case in golden["cases"]:
        assert max(golden_difference(encoder, case)) <= TOLERANCE, case["frames"]
