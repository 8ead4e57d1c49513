"""A training directory small enough for every test: six voices of five short recordings."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

RATE = 16000


def voice(speaker: int, utt: int, seconds: float) -> np.ndarray:
    """Harmonics at a pitch of the speaker's own, in noise."""
    rng = np.random.Generator(np.random.PCG64([speaker, utt]))
    time = np.arange(int(seconds * RATE)) / RATE
    pitch = 90.0 * 1.25**speaker * (1 + 0.03 * rng.standard_normal())
    wave = sum(np.sin(2 * np.pi * pitch * k * time + rng.uniform(0, 6)) / k for k in range(1, 12))
    return (0.05 * wave + 0.02 * rng.standard_normal(time.size)).astype(np.float32)


@pytest.fixture(scope="session")
def voices(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory with wav.scp, utt2spk, spk2utt, utt2dur and trials."""
    root = tmp_path_factory.mktemp("voices")
    rows = []
    for speaker in range(6):
        for utt in range(5):
            seconds = 0.7 + 0.3 * utt
            name = f"s{speaker}-u{utt}"
            path = root / "wav" / f"{name}.wav"
            path.parent.mkdir(exist_ok=True)
            soundfile.write(path, voice(speaker, utt, seconds), RATE, subtype="PCM_16")
            rows.append((name, f"s{speaker}", str(path), seconds))
    data = root / "data"
    data.mkdir()
    write = lambda name, lines: (data / name).write_text("".join(line + "\n" for line in lines))  # noqa: E731
    write("wav.scp", [f"{utt} {path}" for utt, _, path, _ in rows])
    write("utt2spk", [f"{utt} {spk}" for utt, spk, _, _ in rows])
    write("utt2dur", [f"{utt} {seconds:.2f}" for utt, _, _, seconds in rows])
    write("spk2utt", [f"s{s} " + " ".join(f"s{s}-u{u}" for u in range(5)) for s in range(6)])
    pairs = [(a, b) for i, a in enumerate(rows) for b in rows[i + 1 :]]
    label = lambda a, b: "target" if a[1] == b[1] else "nontarget"  # noqa: E731
    write("trials", [f"{a[0]} {b[0]} {label(a, b)}" for a, b in pairs])
    return data


@pytest.fixture(scope="session")
def rooms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data directories `musan` (noise, music and speech by their ids) and `rir`."""
    root = tmp_path_factory.mktemp("rooms")
    rng = np.random.Generator(np.random.PCG64(8))
    decay = np.exp(-np.arange(2000) / 300)
    for folder, names, count, envelope in (
        (
            "musan",
            [f"{kind}-{i}" for kind in ("noise", "music", "speech") for i in range(4)],
            9000,
            1,
        ),
        ("rir", ["rir-0", "rir-1"], 2000, decay),
    ):
        home = root / folder
        home.mkdir()
        for name in names:
            wave = np.clip(0.1 * rng.standard_normal(count) * envelope, -1, 1)
            soundfile.write(home / f"{name}.wav", wave, RATE, subtype="PCM_16")
        (home / "wav.scp").write_text("".join(f"{n} {home}/{n}.wav\n" for n in names))
    return root
