"""Embeddings of the whole recording and of crops of it, joined to one vector an utterance.

Let e be the embedding of the whole recording and c_1 .. c_K those of K crops, all of length 1. Two
utterances score (e e' + mean over i, j of c_i c_j') / 2. The mean of the K x K products is the
product of the two means, so that score is the inner product of the vectors [e ; mean c] / sqrt 2.
Their length is not 1 and shows how similar the crops are, so they are scored without length norm.

Source
------
The evaluation of TaoRuijie/ECAPA-TDNN, with 5 crops of 300 frames.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sv_cli.extraction.settings import ExtractSettings
from sv_cli.tables.embeddings import ModelInfo

Waveform = NDArray[np.float32]


@dataclass(frozen=True)
class CropPlan:
    """How many crops of how many samples, from the first samples to the last."""

    count: int
    num_samples: int

    def cut(self, waveform: Waveform) -> tuple[list[Waveform], list[int]]:
        """Return the crops that differ, and the number of equal crops that each represents.

        A shorter waveform is repeated up to a crop; all its crops are one.
        """
        if len(waveform) < self.num_samples:
            waveform = np.pad(waveform, (0, self.num_samples - len(waveform)), mode="wrap")
        last = len(waveform) - self.num_samples
        places = np.linspace(0, last, self.count).astype(np.int64)  # towards 0, as published
        starts, counts = np.unique(places, return_counts=True)
        crops = [waveform[start : start + self.num_samples] for start in starts.tolist()]
        return crops, counts.tolist()


def plan_crops(settings: ExtractSettings, sample_rate: int) -> CropPlan | None:
    """Return how crops are cut, or None where there are none."""
    if not settings.crops:
        return None
    return CropPlan(settings.crops, round(settings.crop_seconds * sample_rate))


def join_crops(
    whole: NDArray[np.floating], crops: Sequence[NDArray[np.floating]], counts: list[int]
) -> NDArray[np.float32]:
    """Return the joined vector (2 x embedding_dim,).

    Parameters
    ----------
    whole : (embedding_dim,)
        Embedding of the whole recording.
    crops : sequence of (embedding_dim,)
        Embeddings of the crops that differ.
    counts : list of int
        The number of crops that each represents.
    """
    unit = _unit(np.stack([whole, *crops]))
    mean = np.average(unit[1:], axis=0, weights=counts)
    joined: NDArray[np.float32] = (np.concatenate([unit[0], mean]) / np.sqrt(2)).astype(np.float32)
    return joined


def describe_embeddings(info: ModelInfo, settings: ExtractSettings) -> ModelInfo:
    """Return the record of embeddings that a model makes with these settings.

    Those with crops have another hash, so that they never meet those without.
    """
    if not settings.crops:
        return info
    crops = f"{settings.crops} crops of {settings.crop_seconds:g} s"
    return replace(
        info,
        model_hash=hashlib.sha256(f"{info.model_hash} {crops}".encode()).hexdigest(),
        embedding_dim=2 * info.embedding_dim,
        model=f"{info.model} with {crops}",
        inner_product=True,
    )


def _unit(rows: NDArray[np.floating]) -> NDArray[np.float64]:
    wide = rows.astype(np.float64)
    wide /= np.linalg.norm(wide, axis=1, keepdims=True)
    return wide
