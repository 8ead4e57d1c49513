"""Export of one network of every family and project: parity, size and speed of the ONNX files.

    python benchmarks/export.py                      # all, on ../shared/data where it is there
    python benchmarks/export.py --models resnet34 campplus --audio a.wav b.flac

Weights are those of the contract tests: drawn so that activations keep their size. Differences
are between onnxruntime, from the waveform on, and the network with the front-end of `extract`,
relative to the largest value of the embedding, over recordings of several lengths, batches of one
and three. Speed is the best of several turns on 3 s, one thread, front-end included: onnxruntime
against `svtool extract --precision auto` in the same run, and against the plain network in fp32.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from sv_cli import logs
from sv_cli.audio.read import read_waveform
from sv_cli.checkpoints.export import export_onnx
from sv_cli.checkpoints.model_file import ModelFile, load_model, save_model
from sv_cli.checkpoints.onnx_graph import EMBEDDING, WAVEFORM, open_session
from sv_cli.errors import CheckpointError
from sv_cli.extraction.extractor import Extractor
from sv_cli.features.frontend import Frontend
from sv_cli.features.settings import find_frontend
from sv_cli.models.registry import MODELS, build_model, find_model

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))
from drawn_models import draw_weights, of_every_family  # noqa: E402

RECORDINGS = ROOT.parent / "shared" / "data" / "wav"
NUM_RECORDINGS = 5
SECONDS = 3.0


def main() -> None:
    """Print one row a network."""
    arguments = parse_arguments()
    torch.set_num_threads(1)
    logs.configure(command="export", quiet=True, verbose=False, log_format="text")
    audio = arguments.audio or find_audio()
    print(f"compared on noise and {len(audio)} recordings", flush=True)
    header = ("family", "network", "front-end", "difference", "MB", "onnxruntime utt/s")
    print(" | ".join((*header, "to `extract`", "to plain fp32")))
    for name in arguments.models:
        print(" | ".join(measure(find_model(name), audio, arguments.rounds)), flush=True)


def parse_arguments() -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=of_every_family())
    parser.add_argument("--audio", nargs="+", help="recordings to compare on")
    parser.add_argument("--rounds", type=int, default=5)
    return parser.parse_args()


def find_audio() -> list[str]:
    """Return recordings from the shortest to the longest; none where there are none."""
    found = sorted(RECORDINGS.rglob("*.*"), key=lambda path: path.stat().st_size)
    places = np.linspace(0, len(found) - 1, NUM_RECORDINGS).round().astype(int)
    return [str(found[place]) for place in places] if found else []


def measure(name: str, audio: list[str], rounds: int) -> list[str]:
    """Return the cells of a row."""
    entry = MODELS[name]
    encoder = draw_weights(build_model(name))
    frontend = find_frontend(entry.frontend)
    with tempfile.TemporaryDirectory() as folder:
        path, out = Path(folder, "model.pt"), Path(folder, "model.onnx")
        save_model(path, ModelFile(name, {}, frontend, dict(encoder.state_dict())))
        try:
            done = export_onnx(path, out, audio=audio, tolerance=float("inf"))
        except CheckpointError as error:
            return [entry.family, name, entry.frontend, error.message]
        waveform = three_seconds(audio)
        session = open_session(out)
        loaded = load_model(path)
        extractor = Extractor(loaded.encoder, frontend)
        plain = Frontend(frontend).eval()

        @torch.inference_mode()
        def run_plain() -> None:
            loaded.encoder(plain(torch.from_numpy(waveform)[None]))

        runs: dict[str, Callable[[], object]] = {
            "onnx": lambda: session.run([EMBEDDING], {WAVEFORM: waveform[None]}),
            "ours": lambda: extractor.embed(waveform),
            "plain": run_plain,
        }
        best = best_seconds(runs, rounds)
    return [
        entry.family, name, entry.frontend, f"{done.difference:.1e}",
        f"{done.num_bytes / 1e6:.1f}", f"{1 / best['onnx']:.1f}",
        f"{best['ours'] / best['onnx']:.2f}", f"{best['plain'] / best['onnx']:.2f}",
    ]  # fmt: skip


def three_seconds(audio: list[str]) -> NDArray[np.float32]:
    """Return speech, repeated up to 3 s; noise where there is none."""
    count = round(SECONDS * 16000)
    if not audio:
        return (0.1 * np.random.default_rng(0).standard_normal(count)).astype(np.float32)
    return np.resize(read_waveform(audio[-1], sample_rate=16000)[0], count)


def best_seconds(runs: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Return the CPU seconds of the fastest turn of each, after one turn to warm up."""
    best = dict.fromkeys(runs, float("inf"))
    for turn in range(rounds + 1):
        for key, run in runs.items():
            start = time.process_time()
            run()
            if turn:
                best[key] = min(best[key], time.process_time() - start)
    return best


if __name__ == "__main__":
    main()
