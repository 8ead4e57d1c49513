"""Mean and variance normalisation over an utterance or a sliding window."""

import torch
from torch import Tensor

from sv_cli.errors import ShapeError
from sv_cli.features.settings import FrontendSettings

_VARIANCE_FLOOR = 1e-10
_INSTANCE_NORM_EPS = 1e-5


def subtract_mean(features: Tensor) -> Tensor:
    """Subtract the mean over time from each column: (..., num_frames, feat_dim), same out."""
    if features.shape[-2] == 0:
        return features
    return features - features.mean(dim=-2, keepdim=True)


def normalize_columns(features: Tensor, settings: FrontendSettings) -> Tensor:
    """Normalise over time as a front-end does: (..., num_frames, feat_dim), same out.

    With `var_norm` this is torch's InstanceNorm1d: divided by sqrt(variance + 1e-5).
    """
    if not settings.mean_norm:
        return features
    centred = subtract_mean(features)
    if not settings.var_norm:
        return centred
    return centred * (centred.square().mean(dim=-2, keepdim=True) + _INSTANCE_NORM_EPS).rsqrt()


def sliding_cmn(
    features: Tensor,
    *,
    window: int = 300,
    center: bool = True,
    min_window: int = 100,
    norm_vars: bool = False,
) -> Tensor:
    """Normalise each frame by the mean of the frames around it.

    Parameters
    ----------
    features : Tensor, shape (num_frames, feat_dim)
    window : int
        Frames in the window (Kaldi's --cmn-window, whose default is 600).
    center : bool
        A window around the frame; otherwise one that ends with it.
    min_window : int
        Least frames of a window that ends with the frame, at the start of the utterance.
    norm_vars : bool
        Divide by the standard deviation too.

    Returns
    -------
    Tensor, shape (num_frames, feat_dim)

    Source: Kaldi, src/transform/cmvn.cc and feat/feature-functions.cc (apply-cmvn-sliding).
    """
    if features.dim() != 2 or window < 1:
        raise ShapeError(f"one utterance of frames and columns is wanted, not {features.dim()}-D")
    start, end = _window_bounds(len(features), window, center, min_window, features.device)
    count = (end - start).unsqueeze(1)
    wide = features.double()
    mean = _window_sums(wide, start, end) / count
    normalized = wide - mean
    if norm_vars:
        variance = _window_sums(wide.square(), start, end) / count - mean.square()
        scale = variance.clamp_min(_VARIANCE_FLOOR).rsqrt()
        normalized *= torch.where(count == 1, 0.0, scale)
    return normalized.to(features.dtype)


def _window_bounds(
    num_frames: int, window: int, center: bool, min_window: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Return the first frame of each frame's window, and the one after the last.

    A window that sticks out at an end is moved inside:   |[--t---]     ] -> same length
    """
    frame = torch.arange(num_frames, device=device)
    if center:
        start = frame - window // 2
        end = start + window
        end = torch.where(start < 0, window, end)
    else:
        start = frame - window
        end = frame + 1
        end = torch.where(start < 0, end.clamp_min(min_window), end)
    start = start.clamp_min(0)
    start = (start - (end - num_frames).clamp_min(0)).clamp_min(0)
    return start, end.clamp_max(num_frames)


def _window_sums(values: Tensor, start: Tensor, end: Tensor) -> Tensor:
    total = torch.cat([values.new_zeros(1, values.shape[1]), values.cumsum(dim=0)])
    return total[end] - total[start]
