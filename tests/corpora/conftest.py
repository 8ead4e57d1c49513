"""Small folders of real audio files."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

Recorder = Callable[..., Path]


@pytest.fixture
def record(tmp_path: Path) -> Recorder:
    """Return a function that writes a quiet tone below `tmp_path/recordings`."""

    def write(name: str, *, seconds: float = 0.2, sample_rate: int = 16000) -> Path:
        path = tmp_path / "recordings" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        tone = 0.1 * np.sin(np.arange(int(seconds * sample_rate)) * 0.1)
        soundfile.write(path, tone, sample_rate)
        return path

    return write
