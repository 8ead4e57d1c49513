"""Utterances per CPU second of extraction: ours against a plain loop, on real utterances.

    python benchmarks/extract.py                       # ../shared/data, about 3 s each
    python benchmarks/extract.py --data DIR --audio-root DIR --models resnet34 --num-utts 100

Both read the recordings, compute features and run the same network with random weights on one
thread. Ours is what `svtool extract --precision auto` does; the plain loop embeds one utterance at
a time in fp32 with contiguous memory. They take turns, and the fastest round of each counts.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from sv_cli.audio.read import read_waveform
from sv_cli.audio.sources import Utterance, open_source
from sv_cli.extraction.extractor import Extractor
from sv_cli.extraction.settings import ExtractSettings
from sv_cli.features.frontend import Frontend
from sv_cli.features.settings import find_frontend
from sv_cli.models.protocol import SpeakerEncoder
from sv_cli.models.registry import MODELS, build_model, find_model

SHARED = Path(__file__).resolve().parent.parent.parent / "shared" / "data"
DEFAULT_MODELS = ["resnet34", "eres2net_base", "ecapa_glob_c512"]
SECONDS = 3.0
Embeddings = dict[str, NDArray[np.float32]]


def main() -> None:
    """Print one row a network."""
    arguments = parse_arguments()
    torch.set_num_threads(1)
    utterances = choose_utterances(arguments)
    print(f"{'network':18}{'form':>6}{'ours':>9}{'plain fp32':>12}{'ratio':>8}{'min cosine':>13}")
    for name in arguments.models:
        torch.manual_seed(0)
        encoder = build_model(name).eval()
        settings = ExtractSettings(precision=arguments.precision)
        measure(find_model(name), encoder, settings, utterances, arguments)


def parse_arguments() -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default=str(SHARED / "data" / "dev"))
    parser.add_argument("--audio-root", default=str(SHARED))
    parser.add_argument("--models", nargs="+", default=DEFAULT_MODELS)
    parser.add_argument("--num-utts", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--precision", default="auto", choices=["auto", "fp32", "bf16"])
    return parser.parse_args()


def choose_utterances(arguments: argparse.Namespace) -> list[Utterance]:
    """Return the utterances whose length is nearest to 3 s."""
    with open_source(arguments.data) as found:
        lengths = [len(read(u, 16000, arguments.audio_root)) / 16000 for u in found[:400]]
        nearest = np.argsort([abs(length - SECONDS) for length in lengths])[: arguments.num_utts]
        mean = statistics.mean(lengths[i] for i in nearest)
        print(f"{len(nearest)} utterances of {mean:.2f} s on average, one thread")
        return [found[i] for i in nearest]


def read(utterance: Utterance, sample_rate: int, audio_root: str) -> NDArray[np.float32]:
    """Return the samples of an utterance."""
    return read_waveform(
        utterance.rx,
        start=utterance.start,
        end=utterance.end,
        sample_rate=sample_rate,
        audio_root=audio_root,
    )[0]


def measure(
    name: str,
    encoder: SpeakerEncoder,
    settings: ExtractSettings,
    utterances: Sequence[Utterance],
    arguments: argparse.Namespace,
) -> None:
    """Print one row."""
    frontend = find_frontend(MODELS[name].frontend)
    extractor = Extractor(encoder, frontend, settings)
    plain_frontend = Frontend(frontend).eval()
    root = arguments.audio_root

    def ours() -> Embeddings:
        return dict(extractor.extract(utterances, audio_root=root))

    @torch.inference_mode()
    def plain() -> Embeddings:
        rows = {}
        for utterance in utterances:
            waveform = read(utterance, frontend.sample_rate, root)
            feats = plain_frontend(torch.from_numpy(waveform)[None])
            rows[utterance.utt] = encoder(feats)[0].numpy()
        return rows

    embedded, expected = ours(), plain()  # warm-up; the precision is settled here
    best = {"ours": float("inf"), "plain": float("inf")}
    for _ in range(arguments.rounds):
        for key, run in (("ours", ours), ("plain", plain)):
            best[key] = min(best[key], cpu_seconds(run))
    rates = {key: len(utterances) / seconds for key, seconds in best.items()}
    form = extractor.form.precision if extractor.form else "?"
    print(
        f"{name:18}{form:>6}{rates['ours']:>9.1f}{rates['plain']:>12.1f}"
        f"{rates['ours'] / rates['plain']:>8.2f}{least_cosine(embedded, expected):>13.6f}",
        flush=True,
    )


def cpu_seconds(run: Callable[[], Embeddings]) -> float:
    """Return the CPU time of this process, all threads, that `run` takes."""
    start = time.process_time()
    run()
    return time.process_time() - start


def least_cosine(one: Embeddings, two: Embeddings) -> float:
    """Return the least cosine between embeddings of the same utterance."""
    a, b = (np.stack([table[utt] for utt in sorted(table)]).astype(float) for table in (one, two))
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return float(np.min((a * b).sum(axis=1) / norms))


if __name__ == "__main__":
    main()
