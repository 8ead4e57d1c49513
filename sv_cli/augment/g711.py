"""G.711: the two logarithmic laws of the telephone, over batches.

Source: ITU-T Recommendation G.711, tables 1a (A-law) and 2a (mu-law).
"""

from typing import Literal

import torch
from torch import Tensor

Law = Literal["ulaw", "alaw"]


def compand(waveforms: Tensor, law: Law) -> Tensor:
    """Return samples of any shape as the 8-bit code gives them back.

    Samples in [-1, 1) are taken as 16 bits wide; values outside get the largest code. Every
    magnitude from a decision value up to the next one becomes the level between them.
    """
    decisions, levels = (table.to(waveforms.device) for table in _tables(law))
    magnitudes = waveforms.abs().contiguous() * 32768.0
    decoded = levels[torch.bucketize(magnitudes, decisions, right=True)] / 32768.0
    return torch.where(waveforms < 0, -decoded, decoded)


def _tables(law: Law) -> tuple[Tensor, Tensor]:
    """Return the 127 decision values above 0 and the 128 levels, on the scale of 16 bits."""
    step = torch.arange(16, dtype=torch.float32)
    if law == "ulaw":
        # 14 bits: step i of segment s has the level (33 + 2 i) 2^s - 33, and the decision value
        # below it has 32 in place of 33.
        power = 2.0 ** torch.arange(8)[:, None]
        levels = ((33 + 2 * step) * power - 33).flatten()
        decisions = ((32 + 2 * step) * power - 33).flatten()
        return decisions[1:] * 4, levels * 4
    # 13 bits: two segments of step 2, then each of twice the step of the one before.
    power = 2.0 ** torch.tensor([0, 0, 1, 2, 3, 4, 5, 6])[:, None]
    first = torch.tensor([0.0] + [32.0] * 7)[:, None]
    decisions = ((first + 2 * step) * power).flatten()
    levels = ((first + 2 * step + 1) * power).flatten()
    return decisions[1:] * 8, levels * 8
