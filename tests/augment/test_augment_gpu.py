"""On a GPU the same is done as on the processor."""

import numpy as np
import pytest
import torch
from known_recordings import NUM_SAMPLES, RATE, vowels

from sv_cli.audio.speed import num_input_samples, play
from sv_cli.augment.banks import Banks
from sv_cli.augment.chain import Augmenter
from sv_cli.augment.draw import NUM_CHANCES
from sv_cli.augment.settings import CHAINS, AugmentSettings

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("name", sorted(CHAINS))
def test_a_chain_is_the_same(name: str, files: Banks, crops: torch.Tensor) -> None:
    settings = AugmentSettings.model_validate({"chain": name, "gain_prob": 0.3})
    chances = torch.from_numpy(np.random.Generator(np.random.Philox(3)).random((32, NUM_CHANCES)))
    out = []
    for device in (torch.device("cpu"), torch.device("cuda")):
        chain = Augmenter(settings, files, num_samples=NUM_SAMPLES, sample_rate=RATE, device=device)
        out.append(chain.waveforms(crops.to(device), chain.draw(chances)).cpu())
    assert torch.allclose(out[0], out[1], atol=2e-5)


def test_bands_and_codecs_are_the_same(files: Banks) -> None:
    names = ["ulaw", "alaw", "gsm", "adpcm", "vorbis"]
    settings = AugmentSettings.model_validate(
        {"band": {"prob": 0.5}, "codec": {"prob": 0.7, "names": names}}
    )
    crops = vowels(32, NUM_SAMPLES)
    chances = torch.from_numpy(np.random.Generator(np.random.Philox(3)).random((32, NUM_CHANCES)))
    out = []
    for device in (torch.device("cpu"), torch.device("cuda")):
        chain = Augmenter(settings, files, num_samples=NUM_SAMPLES, sample_rate=RATE, device=device)
        out.append(chain.waveforms(crops.to(device), chain.draw(chances)).cpu().double())
    apart = (out[0] - out[1]).norm(dim=1) / out[0].norm(dim=1)
    assert float(apart.max()) < 3e-2  # a codec may turn a last bit into a step


def test_speeds_are_the_same() -> None:
    factors = (1.0, 0.9, 1.1)
    batch = torch.randn(6, num_input_samples(4000, 1.1), generator=torch.Generator().manual_seed(2))
    speeds = torch.tensor([0, 1, 2, 1, 0, 2])
    one, other = (play(batch.to(device), speeds, factors, 4000).cpu() for device in ("cpu", "cuda"))
    assert torch.allclose(one, other, atol=2e-5)
