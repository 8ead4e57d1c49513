"""A share of the classes for one step: all of the batch's own, others at random."""

import torch
from torch import Tensor


def sample_classes(labels: Tensor, *, num_classes: int, share: float) -> tuple[Tensor, Tensor]:
    """Return the classes of a step, and the place of each label among them.

    The random numbers are torch's own on the device of the labels.

    Parameters
    ----------
    labels : (batch,) int64
    num_classes : int
    share : float
        0 < share <= 1; at least as many classes as the batch has labels are chosen.

    Returns
    -------
    classes : (chosen,) int64
        Ascending, chosen = max(batch, share x num_classes) and at most num_classes.
    places : (batch,) int64
        `classes[places]` are the labels.

    Source
    ------
    An et al., "Partial FC", ICCVW 2021.
    """
    chosen = min(num_classes, max(labels.numel(), round(share * num_classes)))
    chances = torch.rand(num_classes, device=labels.device)
    chances[labels] = 2.0  # above all others
    classes = chances.topk(chosen, sorted=False).indices.sort().values
    return classes, torch.searchsorted(classes, labels)
