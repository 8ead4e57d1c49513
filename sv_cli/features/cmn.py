"""Mean and variance normalisation over an utterance or a sliding window."""

from torch import Tensor


def subtract_mean(features: Tensor) -> Tensor:
    """Subtract the mean over time from each column: (..., num_frames, feat_dim), same out."""
    if features.shape[-2] == 0:
        return features
    return features - features.mean(dim=-2, keepdim=True)
