"""torchaudio through the stub: in an own process, since it changes what is imported."""

import subprocess
import sys

import pytest

CODE = """
import warnings
warnings.simplefilter("ignore")
from sv_cli.audio.torchaudio_door import load_torchaudio
functional = load_torchaudio("torchaudio.functional")
import torch
assert functional.resample(torch.zeros(1, 16000), 16000, 8000).shape == (1, 8000)
with torch.device("meta"):
    model = load_torchaudio("torchaudio").models.wavlm_base()
count = sum(p.numel() for p in model.parameters())
assert 94_000_000 < count < 95_000_000, count
"""


@pytest.mark.slow
def test_functional_and_wavlm_models_import():
    pytest.importorskip("torch")
    run = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


def test_a_missing_module_is_told():
    from sv_cli.audio.torchaudio_door import load_torchaudio
    from sv_cli.errors import SvError

    with pytest.raises(SvError, match="is not installed"):
        load_torchaudio("torchaudio_that_is_not_there")
