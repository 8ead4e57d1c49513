"""The built-in front-ends of ReDimNet and ReDimNet2: their options, and their buffers.

Also those of WeSpeaker's `tfmel`. Buffers are in the state dict; they are compared with ours.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from sv_cli.checkpoints.export_frontend import windowed_basis
from sv_cli.errors import CheckpointError
from sv_cli.features.mel import periodic_window, triangles
from sv_cli.features.settings import FrontendSettings, find_frontend
from sv_cli.features.tfmel import tfmel_weights
from sv_cli.settings.model import build_settings

BUFFER_TOLERANCE = 5e-4  # a periodic window instead of a symmetric one differs by 3e-3
_BASES = {"tf": "tfmel", "tf_mel": "tfmel", "pt": "taoruijie", "pt_mel": "taoruijie"}
_TRAINING_ONLY = (
    "do_spec_aug", "freq_mask_width", "time_mask_width", "freq_start_bin", "num_apply_spec_aug",
)  # fmt: skip
_FIXED = {"sample_rate": 16000, "n_fft": 512, "win_length": 400, "spec_norm": "mn", "eps": 1e-8}


def read_frontend(
    kind: Any, *, hop_length: Any, num_mel_bins: int, params: Any, what: str
) -> FrontendSettings:
    """Return the front-end of the authors' options.

    Parameters
    ----------
    kind : str
        Their `feat_type`.
    hop_length : int
        Samples from frame to frame.
    num_mel_bins : int
    params : mapping
        Their `spec_params`.
    what : str
        File and part of it, for messages.

    Raises
    ------
    CheckpointError
        Names the option that no front-end of svtool has.
    """
    if not isinstance(kind, str) or kind not in _BASES:
        raise CheckpointError(
            f"{what}: `feat_type` {kind!r} is not supported",
            hint=f"{', '.join(_BASES)} are; `--frontend NAME` takes a different one",
        )
    if not isinstance(hop_length, int) or not isinstance(params, Mapping):
        raise CheckpointError(
            f"{what}: `hop_length` is {hop_length!r} and `spec_params` {params!r}, expected an"
            " integer and a dictionary"
        )
    base = find_frontend(_BASES[kind])
    values: dict[str, Any] = {
        "num_mel_bins": num_mel_bins,
        "frame_shift_ms": 1000.0 * hop_length / base.sample_rate,
        "signal_norm": False,
    }
    for key, value in params.items():
        match key:
            case "do_preemph":
                values["preemphasis"] = base.preemphasis if value else 0.0
            case "norm_signal":
                values["signal_norm"] = bool(value)
            case "f_min" | "f_max":
                values["low_freq" if key == "f_min" else "high_freq"] = value
            case _ if key in _TRAINING_ONLY:
                continue
            case _ if key not in _FIXED:
                raise CheckpointError(f"{what}: `spec_params.{key}` ({value!r}) is not supported")
            case _ if value != _FIXED[key]:
                raise CheckpointError(
                    f"{what}: `spec_params.{key}` is {value!r}, only {_FIXED[key]!r} is supported"
                )
    settings = build_settings(FrontendSettings, {**base.model_dump(), **values}, where=what)
    if settings.frame_shift != hop_length:
        raise CheckpointError(f"{what}: `hop_length` {hop_length} is not supported")
    return settings


def check_buffers(buffers: Mapping[str, Tensor], settings: FrontendSettings, *, what: str) -> None:
    """Compare a file's front-end buffers with the constants of our front-end.

    Raises
    ------
    CheckpointError
        Names the first buffer that differs or is unknown.
    """
    expected = expected_buffers(settings)
    for key, value in buffers.items():
        wanted = expected.get(key)
        if wanted is None:
            reason = f"is no part of the front-end (kind {settings.kind})"
        elif wanted.shape != value.shape:
            reason = f"has the shape {tuple(value.shape)} instead of {tuple(wanted.shape)}"
        else:
            difference = float((value.float() - wanted).abs().max())
            if difference <= BUFFER_TOLERANCE:
                continue
            reason = f"differs from the front-end's by {difference:.2g}"
        raise CheckpointError(
            f"{what}: `{key}` {reason}", hint="`--frontend NAME` takes a front-end unchecked"
        )


def expected_buffers(settings: FrontendSettings) -> dict[str, Tensor]:
    """Return the authors' buffers, key -> float32 tensor; none for other front-ends."""
    if settings.kind not in ("mel", "tfmel"):
        return {}
    start, cpu = "spec.torchfbank", torch.device("cpu")
    buffers = {}
    if settings.preemphasis:
        buffers[f"{start}.1.flipped_filter"] = torch.tensor([[[-settings.preemphasis, 1.0]]])
    if settings.kind == "mel":
        buffers[f"{start}.2.spectrogram.window"] = periodic_window(settings, cpu)
        buffers[f"{start}.2.mel_scale.fb"] = triangles(settings, cpu)
        return buffers
    real, imaginary = windowed_basis(settings).float()[:, None].chunk(2)
    buffers[f"{start}.2.real_kernel_pt"] = real
    buffers[f"{start}.2.image_kernel_pt"] = imaginary
    buffers[f"{start}.2.melbanks_pt"] = tfmel_weights(settings).T.float()[..., None]
    return buffers
