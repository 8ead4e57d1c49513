"""Which networks stand for all, and weights for them that behave as trained ones do."""

import torch

from sv_cli.models.protocol import SpeakerEncoder
from sv_cli.models.registry import MODELS

SELF_SUPERVISED = {name for name, entry in MODELS.items() if entry.module.startswith("ssl_")}


def smallest() -> set[str]:
    """One name of each module and project, without the self-supervised ones."""
    chosen: dict[tuple[str, str], str] = {}
    for name, entry in sorted(MODELS.items(), key=lambda item: item[1].parameters):
        chosen.setdefault((entry.module, entry.source), name)
    return set(chosen.values()) - SELF_SUPERVISED


def of_every_family() -> list[str]:
    """The smallest name of each family and project, without the self-supervised ones."""
    chosen: dict[tuple[str, str], str] = {}
    for name, entry in sorted(MODELS.items(), key=lambda item: item[1].parameters):
        chosen.setdefault((entry.family, entry.source), name)
    return [name for name in MODELS if name in set(chosen.values()) - SELF_SUPERVISED]


def draw_weights(encoder: SpeakerEncoder) -> SpeakerEncoder:
    """Give weights and norms values that keep activations of the size that training does."""
    generator = torch.Generator().manual_seed(5)
    for key, value in encoder.state_dict().items():
        leaf = key.rpartition(".")[2]
        if leaf == "running_var":
            value.uniform_(0.5, 1.5, generator=generator)
        elif value.is_floating_point() and value.dim() >= 2:
            value.normal_(0.0, value[0].numel() ** -0.5, generator=generator)
        elif leaf == "weight":
            value.uniform_(0.5, 1.0, generator=generator)
        elif value.is_floating_point():
            value.normal_(0.0, 0.1, generator=generator)
    return encoder.eval()
