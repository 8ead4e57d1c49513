"""Make `data_templates/` anew: `python tests/corpora/make_data_templates.py` in the repository.

The audio is synthetic; the tables are what `svtool prepare` writes, with paths relative to
`data_templates/` (read them with `--audio-root data_templates`).
"""

import shutil
from pathlib import Path

import numpy as np

from sv_cli.audio.write import write_waveform
from sv_cli.corpora.corpus import Job
from sv_cli.corpora.listing import Listed, measure, utterances_of, write_data_dir
from sv_cli.corpora.synthesis.utterance import SAMPLE_RATE, synthesize
from sv_cli.corpora.trial_draw import (
    CROSS_GENDER,
    SAME_GENDER,
    TARGET,
    draw_conditions,
    write_trial_rows,
)

ROOT = Path(__file__).parents[2] / "data_templates"
SEED = 20
SECONDS = (0.35, 0.45)
GENDER = {"t01": "f", "t02": "m", "c01": "f", "e01": "f", "e02": "m", "e03": "m"}
NUM_UTTERANCES = {"t01": 2, "t02": 2, "e01": 2, "e02": 2, "e03": 1}


def make_speech(name: str, speakers: list[str]) -> None:
    items = []
    for spk in speakers:
        for number in range(NUM_UTTERANCES[spk]):
            path = ROOT / name / "audio" / f"{spk}-{number + 1:02d}.flac"
            waveform = synthesize(SEED, spk, GENDER[spk], number, seconds=SECONDS)
            write_waveform(path, waveform, SAMPLE_RATE)
            items.append(Listed(path.stem, spk, path))
    write(name, items)
    if name == "eval":
        counts = {TARGET: 10, SAME_GENDER: 10, CROSS_GENDER: 10}
        rows = draw_conditions(utterances_of(items), GENDER, counts, seed=SEED)
        write_trial_rows(ROOT / name / "trials.cond", rows)
        labels = [(a, b, "target" if c == TARGET else "nontarget") for a, b, c in rows]
        write_trial_rows(ROOT / name / "trials", labels)


def make_cohort() -> None:
    """One recording with two utterances in it: `segments`."""
    path = ROOT / "cohort" / "audio" / "call01.wav"
    waveform = synthesize(SEED, "c01", "f", 0, seconds=(0.8, 0.9))
    write_waveform(path, waveform, SAMPLE_RATE)
    half = round(len(waveform) / SAMPLE_RATE / 2, 2)
    items = [
        Listed("c01-call01-1", "c01", path, 0.05, half),
        Listed("c01-call01-2", "c01", path, half, 2 * half - 0.05),
    ]
    write("cohort", items)


def make_noise() -> None:
    rng = np.random.default_rng(SEED)
    time = np.arange(int(0.4 * SAMPLE_RATE)) / SAMPLE_RATE
    hum = sum(np.sin(2 * np.pi * 50 * k * time) / k for k in (1, 2, 3, 5))
    hiss = np.cumsum(rng.standard_normal(len(time)))
    hiss -= np.linspace(hiss[0], hiss[-1], len(hiss))
    sounds = {"hum": hum, "rumble": hiss}
    items = []
    for name, sound in sounds.items():
        path = ROOT / "noise" / "audio" / f"{name}.flac"
        write_waveform(path, (0.1 * sound / sound.std()).astype(np.float32), SAMPLE_RATE)
        items.append(Listed(name, name, path))
    write("noise", items)


def make_rirs() -> None:
    rng = np.random.default_rng(SEED + 1)
    items = []
    for name, seconds in (("room", 0.15), ("hall", 0.3)):
        time = np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
        tail = 0.1 * rng.standard_normal(len(time)) * 10.0 ** (-3.0 * time / seconds)
        tail[0] = 0.9  # the direct sound
        path = ROOT / "rirs" / "audio" / f"{name}.flac"
        write_waveform(path, tail.astype(np.float32), SAMPLE_RATE)
        items.append(Listed(name, name, path))
    write("rirs", items)


def write(name: str, items: list[Listed]) -> None:
    job = Job(ROOT, ROOT / name, force=True, audio_root=ROOT)
    gender = GENDER if items[0].spk in GENDER else None
    write_data_dir(measure(items, job), ROOT / name, job, gender=gender)
    (ROOT / name / ".done").unlink()


if __name__ == "__main__":
    for name in ("train", "cohort", "eval", "noise", "rirs"):
        shutil.rmtree(ROOT / name, ignore_errors=True)
    make_speech("train", ["t01", "t02"])
    make_speech("eval", ["e01", "e02", "e03"])
    make_cohort()
    make_noise()
    make_rirs()
