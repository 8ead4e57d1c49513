"""Energy voice activity detection, as Kaldi's compute-vad and select-voiced-frames."""

import torch
from torch import Tensor

from sv_cli.errors import ShapeError
from sv_cli.features.settings import VadSettings


def energy_vad(energy: Tensor, settings: VadSettings) -> Tensor:
    """Decide for each frame whether it is speech.

    A frame is loud when its log energy exceeds a constant plus a share of the mean; it is speech
    when enough frames around it are loud.

    Parameters
    ----------
    energy : Tensor, shape (num_frames,)
        Natural logarithm of the frame energies, samples in the scale of 16-bit integers.

    Returns
    -------
    Tensor of bool, shape (num_frames,)

    Source: Kaldi, src/ivector/voice-activity-detection.cc.
    """
    num_frames = len(energy)
    if num_frames == 0:
        return torch.zeros(0, dtype=torch.bool)
    threshold = settings.vad_energy_threshold
    threshold += settings.vad_energy_mean_scale * float(energy.double().mean())
    loud = energy > threshold
    total = torch.cat([torch.zeros(1, dtype=torch.int64), loud.cumsum(dim=0)])
    frame = torch.arange(num_frames)
    context = settings.vad_frames_context
    start = (frame - context).clamp_min(0)
    end = (frame + context + 1).clamp_max(num_frames)
    # float32, as in Kaldi: 0.6 of 5 frames is 3 there
    wanted = (end - start).float() * settings.vad_proportion_threshold
    return (total[end] - total[start]).float() >= wanted


def select_voiced(features: Tensor, voiced: Tensor) -> Tensor:
    """Keep the frames that are speech: (num_frames, feat_dim) -> (num_voiced, feat_dim).

    Raises
    ------
    ShapeError
        When the decisions are not as many as the frames.
    """
    if len(features) != len(voiced):
        raise ShapeError(
            f"{len(voiced)} VAD decisions for {len(features)} frames",
            hint="make both with the same frame length, shift and `snip_edges`",
        )
    return features[voiced.bool()]
