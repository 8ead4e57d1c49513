"""Which form of a network is used: decided by the processor and by trial on real features."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from sv_cli import logs
from sv_cli.checkpoints.onnx_file import OnnxEncoder
from sv_cli.errors import SettingsError
from sv_cli.extraction.inference import Embed, prepare_for_inference
from sv_cli.models.protocol import SpeakerEncoder

MIN_COSINE = {"bf16": 0.9999, "fp32": 0.999999}


@dataclass(frozen=True)
class Form:
    """A form of a network.

    `precision` is fp32 or bf16, `fused` names joined operators, `cosine` is the least cosine
    to the plain fp32 network on the utterances tried.
    """

    precision: str
    fused: bool
    cosine: float = field(default=1.0, compare=False)

    def prepare(self, encoder: SpeakerEncoder, device: torch.device) -> Embed:
        """Return the network in this form."""
        return prepare_for_inference(encoder, self.precision, device=device, fuse=self.fused)

    def __str__(self) -> str:
        unfused = "" if self.fused else " (unfused)"
        return f"{self.precision}{unfused}, cosine to plain fp32 {self.cosine:.6f}"


def choose_form(
    encoder: SpeakerEncoder, precision: str, *, device: torch.device, samples: Sequence[Tensor]
) -> Form:
    """Return the fastest form whose embeddings agree with the plain fp32 network.

    Parameters
    ----------
    encoder : SpeakerEncoder
    precision : str
        `auto`, `fp32` or `bf16`; an explicit one is kept, only the fusion is tried.
    device : torch.device
    samples : sequence of Tensor
        Features (1, num_frames, feat_dim) of the first utterances.

    Raises
    ------
    SettingsError
        When bf16 is asked of an exported graph, or of a processor without it.
    """
    if isinstance(encoder, OnnxEncoder):
        if precision == "bf16":
            hint = "leave `--precision` out, or give the model itself"
            raise SettingsError("an exported graph is computed in fp32", hint=hint)
        return Form("fp32", fused=False)
    wanted = [precision] if precision != "auto" else ["bf16", "fp32"]
    if precision == "auto" and not gains_by_bf16(device):
        wanted = ["fp32"]
    if precision == "bf16" and not computes_bf16(device):
        raise SettingsError(
            "this processor has no bf16 convolutions", hint="leave `--precision bf16` out"
        )
    plain = prepare_for_inference(encoder, "fp32", device=device, fuse=False)
    references = [plain(sample) for sample in samples]
    for name in wanted:
        form = Form(name, fused=True)
        cosine = _agreement(form.prepare(encoder, device), samples, references)
        form = replace(form, cosine=cosine)
        if cosine >= MIN_COSINE[name]:
            logs.debug(f"precision {form}")
            return form
        logs.debug(f"precision refused: {form}")
    return Form(wanted[-1], fused=False)


def computes_bf16(device: torch.device) -> bool:
    """Return whether the convolutions of the device take bf16."""
    if device.type == "cuda":
        return True
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def gains_by_bf16(device: torch.device) -> bool:
    """Return whether the processor multiplies bf16 faster than fp32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    known = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(bool(getattr(torch.cpu, name, bool)()) for name in known)


def _agreement(embed: Embed, samples: Sequence[Tensor], references: Sequence[Tensor]) -> float:
    """Return the least cosine; 1 without samples, 0 for what is not finite."""
    cosines = [
        float(cosine_similarity(embed(sample).double(), reference.double()))
        for sample, reference in zip(samples, references, strict=True)
    ]
    return min((value if value == value else 0.0 for value in cosines), default=1.0)
