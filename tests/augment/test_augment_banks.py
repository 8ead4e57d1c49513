"""Banks: what is read, how pieces are cut, and what is refused."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from known_recordings import NUM_SAMPLES, RATE, loud

from sv_cli.augment.banks import RirBank, SoundBank, read_files
from sv_cli.augment.chain import load_augmenter, load_files
from sv_cli.augment.settings import AugmentSettings
from sv_cli.errors import AudioError, SettingsError, SvError, TableError

CPU = torch.device("cpu")


def test_16_bit_files_are_held_exactly(shelf: Path) -> None:
    read = read_files(str(shelf / "noise"), sample_rate=RATE, audio_root=None)
    assert list(read) == ["n0", "n1", "n2"]
    assert all(np.array_equal(read[f"n{i}"], loud(i, 3000 + 9000 * i)) for i in range(3))


def test_pieces_come_from_their_files() -> None:
    waveforms = [loud(0, 3000), loud(1, 12000), loud(2, NUM_SAMPLES)]
    bank = SoundBank.join(waveforms, num_samples=NUM_SAMPLES, device=CPU)
    files = np.array([1, 0, 2, 1, 1])
    pieces = bank.cut(files, np.array([0.0, 0.7, 0.9, 1.0, 0.5]), NUM_SAMPLES)
    expected = [
        waveforms[1][:NUM_SAMPLES],
        np.tile(waveforms[0], 3)[:NUM_SAMPLES],
        waveforms[2],
        waveforms[1][4000:],
        waveforms[1][2000 : 2000 + NUM_SAMPLES],
    ]
    assert np.array_equal(pieces.numpy() * 32768, np.stack(expected))
    assert bank.num_bytes == 2 * (12000 + 2 * NUM_SAMPLES)


def test_responses_have_energy_one_and_reach_no_further_than_a_crop() -> None:
    bank = RirBank.join([loud(0, 500), loud(1, 20000)], num_samples=NUM_SAMPLES, device=CPU)
    responses = bank.responses(torch.tensor([1, 0]))
    assert responses.shape == (2, NUM_SAMPLES)
    assert responses.norm(dim=1).numpy() == pytest.approx([1.0, 1.0], rel=1e-5)
    assert (responses[1, 500:] == 0).all()


def test_a_quiet_response_keeps_its_shape(tmp_path: Path) -> None:
    taps = (np.exp(-np.arange(800) / 100) * 1e-3).astype(np.float32)
    soundfile.write(tmp_path / "r.wav", taps, RATE, subtype="FLOAT")
    (tmp_path / "wav.scp").write_text(f"r {tmp_path}/r.wav\n")
    read = read_files(str(tmp_path), sample_rate=RATE, audio_root=None, full_scale=True)
    assert read["r"].max() == 32767
    assert read["r"] / 32767 == pytest.approx(taps / taps.max(), abs=2e-5)


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"noise": "nowhere"}, SettingsError, "`augment.noise`: `nowhere`: no such data directory"),
        ({"noise": "empty"}, SettingsError, "no utterances"),
        ({"noise": "slow"}, AudioError, "`n0`: sample rate 8000 instead of 16000"),
        ({"noise": "silent"}, AudioError, "`n0`: silent"),
        ({}, SettingsError, "`augment.noise`: no recordings for scene `noise`"),
        ({"noise": "noise"}, SettingsError, "`augment.rir`: no recordings for scene `reverb`"),
        (
            {"chain": "ecapa-tdnn", "noise": "noise", "music": "music", "rir": "rir"},
            SettingsError,
            "`augment.speech`: no recordings for scene `",
        ),
    ],
)
def test_what_is_missing_is_told_in_a_line(
    shelf: Path,
    changes: dict[str, str],
    error: type[SvError],
    words: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(shelf)
    settings = AugmentSettings.model_validate({"chain": "wespeaker", **changes})
    with pytest.raises(error) as caught:
        load_augmenter(settings, num_samples=NUM_SAMPLES, sample_rate=RATE, device=CPU)
    assert words in caught.value.message and "\n" not in caught.value.message


def test_feature_archives_are_no_recordings(shelf: Path) -> None:
    (shelf / "empty" / "feats.scp").write_text("u1 feats.ark:3\n")
    with pytest.raises(TableError, match=r"no wav\.scp"):
        read_files(str(shelf / "empty"), sample_rate=RATE, audio_root=None)


def test_one_directory_of_three_kinds_is_told_apart_by_ids(shelf: Path) -> None:
    settings = AugmentSettings.model_validate(
        {"chain": "speaker-net", "musan": str(shelf / "musan"), "rir": str(shelf / "rir")}
    )
    files = load_files(settings, sample_rate=RATE)
    assert {kind: sorted(found) for kind, found in files.items()} == {
        "noise": ["noise-0", "noise-1"],
        "music": ["music-0", "music-1"],
        "speech": ["speech-0", "speech-1"],
        "rir": ["r0", "r1"],
        "room_rir": ["r0", "r1"],
        "room_noise": ["noise-0", "noise-1"],
    }


def test_a_pool_takes_the_kinds_that_are_there_and_shares_memory(shelf: Path) -> None:
    settings = AugmentSettings.model_validate(
        {"chain": "3d-speaker", "noise": str(shelf / "noise"), "rir": str(shelf / "rir")}
    )
    augmenter = load_augmenter(settings, num_samples=NUM_SAMPLES, sample_rate=RATE, device=CPU)
    assert augmenter is not None
    assert augmenter.stock.kinds["room_noise"] == augmenter.stock.kinds["noise"] == (0, 3)
    assert augmenter.stock.kinds["room_rir"] == augmenter.stock.kinds["rir"] == (0, 2)
    assert len(augmenter.sounds.lengths) == 3 and len(augmenter.rirs.taps) == 2
    assert "noise 3" in augmenter.describe() and "MiB" in augmenter.describe()


def test_nothing_is_read_where_nothing_is_done() -> None:
    settings = AugmentSettings.model_validate({"noise": "nowhere", "speeds": [0.9]})
    assert load_augmenter(settings, num_samples=10, sample_rate=RATE, device=CPU) is None
