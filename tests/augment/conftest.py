"""Banks of known recordings, and crops to alter."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from known_recordings import NUM_SAMPLES, RATE, loud, response

from sv_cli.augment.banks import Banks, Series, hold_banks


@pytest.fixture(scope="session")
def files() -> Banks:
    """Recordings of every kind; one noise is shorter than a crop."""
    series = [
        Series(("noise", "room_noise"), [loud(i, 3000 + 9000 * i) for i in range(4)]),
        Series(("music",), [loud(10 + i, 20000) for i in range(3)]),
        Series(("speech",), [loud(20 + i, 15000) for i in range(9)]),
        Series(("rir", "room_rir"), [response(i, 1500 + 100 * i) for i in range(3)]),
    ]
    return hold_banks(series, num_samples=NUM_SAMPLES)


@pytest.fixture(scope="session")
def crops() -> torch.Tensor:
    """(32, NUM_SAMPLES) crops of several levels."""
    generator = torch.Generator().manual_seed(4)
    level = torch.linspace(0.05, 0.3, 32)[:, None]
    return torch.randn(32, NUM_SAMPLES, generator=generator).clamp(-3, 3) / 3 * level


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    """Data directories `noise`, `music`, `rir`, and `musan` with all three kinds."""

    def write(folder: str, recordings: dict[str, np.ndarray], rate: int = RATE) -> None:
        home = tmp_path / folder
        home.mkdir()
        lines = []
        for name, samples in recordings.items():
            soundfile.write(home / f"{name}.wav", samples, rate, subtype="PCM_16")
            lines.append(f"{name} {home}/{name}.wav\n")
        (home / "wav.scp").write_text("".join(lines))

    write("noise", {f"n{i}": loud(i, 3000 + 9000 * i) for i in range(3)})
    write("music", {f"m{i}": loud(10 + i, 20000) for i in range(2)})
    write("rir", {f"r{i}": response(i, 1500) for i in range(2)})
    write(
        "musan",
        {
            f"{kind}-{i}": loud(30 + i, 9000)
            for kind in ("noise", "music", "speech")
            for i in (0, 1)
        },
    )
    write("slow", {"n0": loud(1, 4000)}, rate=8000)
    write("silent", {"n0": np.zeros(4000, np.int16)})
    (tmp_path / "empty").mkdir()
    return tmp_path
