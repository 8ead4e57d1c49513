"""CPU time of embeddings with and without five crops, on noise: `python benchmarks/crops.py`."""

import time

import numpy as np
import torch

from sv_cli.extraction.extractor import Extractor
from sv_cli.extraction.precision import Form
from sv_cli.extraction.settings import ExtractSettings
from sv_cli.features.settings import find_frontend
from sv_cli.logs import format_table
from sv_cli.models.registry import build_model

MODELS = (("ecapa_taoruijie_c1024", "taoruijie"), ("resnet34", "wespeaker"))
ROUNDS = 3


def main() -> None:
    """Print seconds of one thread for a recording of 5 s, the least of three rounds."""
    torch.set_num_threads(1)
    draw = np.random.default_rng(0)
    waveforms = [(0.1 * draw.standard_normal(80000 + n)).astype(np.float32) for n in (0, 160, 320)]
    rows = []
    for model, frontend in MODELS:
        encoder = build_model(model).eval()
        for crops, batch_size in ((0, 1), (5, 1), (5, 5)):
            settings = ExtractSettings(crops=crops, batch_size=batch_size)
            form = Form("fp32", fused=True)
            extractor = Extractor(encoder, find_frontend(frontend), settings, form=form)
            seconds = min(spent(extractor, waveforms) for _ in range(ROUNDS))
            rows.append([model, str(crops), str(batch_size), f"{seconds:.3f}"])
    print(format_table(["network", "crops", "batch", "s"], rows), end="")


def spent(extractor: Extractor, waveforms: list[np.ndarray]) -> float:
    """Return the CPU seconds of a recording."""
    start = time.process_time()
    extractor.embed_batch(waveforms)
    return (time.process_time() - start) / len(waveforms)


if __name__ == "__main__":
    main()
