"""The product of two tables of embeddings on a GPU, or in bf16."""

from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from sv_cli.backend.cosine import IN_NUMPY, Gemm
from sv_cli.extraction.device import choose_device

# bf16 has 8 bits: two roundings of the factors and one of the sum, of at most 1, by 2^-9 each.
_BF16_ROUNDING = 8e-3


def in_torch(device: str, precision: Literal["fp32", "bf16"]) -> Gemm:
    """Return the product on a device (`cpu`, `cuda`), of fp32 or bf16 factors.

    Raises
    ------
    SettingsError
        When `cuda` is asked for and torch sees none.
    """
    place = choose_device(device)
    kind = torch.bfloat16 if precision == "bf16" else torch.float32

    @torch.inference_mode()
    def multiply(
        left: NDArray[np.float32], right: NDArray[np.float32], out: NDArray[np.float32]
    ) -> None:
        factors = (torch.from_numpy(side).to(place, kind) for side in (left, right))
        torch.from_numpy(out).copy_(torch.matmul(next(factors), next(factors).T))

    return Gemm(multiply, _BF16_ROUNDING if precision == "bf16" else IN_NUMPY.rounding)
