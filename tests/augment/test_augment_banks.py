"""Banks: what is read, how pieces are cut, and what is refused."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from known_recordings import NUM_SAMPLES, RATE, loud

from sv_cli.augment.banks import Banks, Series, hold_banks
from sv_cli.augment.chain import load_augmenter
from sv_cli.augment.recordings import Form, find_series, read_all
from sv_cli.augment.settings import AugmentSettings
from sv_cli.errors import AudioError, SettingsError, SvError
from sv_cli.tables.datadir.directory import DataDir

CPU = torch.device("cpu")


def read(folder: Path, *, full_scale: bool = False) -> list[np.ndarray]:
    utterances = DataDir.load(str(folder)).recordings()
    return list(read_all(utterances, Form(RATE), full_scale=full_scale))


def held(*series: Series) -> Banks:
    return hold_banks(series, num_samples=NUM_SAMPLES)


def test_16_bit_files_are_held_exactly(shelf: Path) -> None:
    found = read(shelf / "noise")
    assert len(found) == 3
    assert all(np.array_equal(found[i], loud(i, 3000 + 9000 * i)) for i in range(3))


def test_threads_read_ahead_in_order(tmp_path: Path) -> None:
    names = [f"n{i:02d}" for i in range(40)]
    for number, name in enumerate(names):
        samples = np.full(200 + 997 * (number % 7), number + 1, np.int16)
        soundfile.write(tmp_path / f"{name}.wav", samples, RATE, subtype="PCM_16")
    (tmp_path / "wav.scp").write_text("".join(f"{n} {tmp_path}/{n}.wav\n" for n in names))
    assert [int(samples[0]) for samples in read(tmp_path)] == list(range(1, 41))


def test_pieces_come_from_their_files() -> None:
    waveforms = [loud(0, 3000), loud(1, 12000), loud(2, NUM_SAMPLES)]
    bank = held(Series(("noise",), waveforms)).sounds(CPU)
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
    sounds = Series(("noise",), [loud(5, 9000)])
    bank = held(sounds, Series(("rir",), [loud(0, 500), loud(1, 20000)])).rirs(CPU)
    responses = bank.responses(torch.tensor([1, 0]))
    assert responses.shape == (2, NUM_SAMPLES)
    assert responses.norm(dim=1).numpy() == pytest.approx([1.0, 1.0], rel=1e-5)
    assert (responses[1, 500:] == 0).all()
    assert np.array_equal(bank.taps[1].numpy(), loud(1, 20000)[:NUM_SAMPLES])


def test_a_quiet_response_keeps_its_shape(tmp_path: Path) -> None:
    taps = (np.exp(-np.arange(800) / 100) * 1e-3).astype(np.float32)
    soundfile.write(tmp_path / "r.wav", taps, RATE, subtype="FLOAT")
    (tmp_path / "wav.scp").write_text(f"r {tmp_path}/r.wav\n")
    (found,) = read(tmp_path, full_scale=True)
    assert found.max() == 32767
    assert found / 32767 == pytest.approx(taps / taps.max(), abs=2e-5)


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"noise": "nowhere"}, SettingsError, "`augment.noise`: `nowhere`: no such data directory"),
        ({"noise": "empty"}, SettingsError, "no utterances"),
        ({"noise": "slow", "rir": "rir"}, AudioError, "`n0`: sample rate 8000 instead of 16000"),
        ({"noise": "silent", "rir": "rir"}, AudioError, "`n0`: silent"),
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
    settings = AugmentSettings.model_validate(
        {"chain": "wespeaker", "noise": str(shelf / "empty"), "rir": str(shelf / "rir")}
    )
    with pytest.raises(SettingsError, match=r"`augment\.noise`: .*no wav\.scp"):
        find_series(settings, Form(RATE))


def test_one_directory_of_three_kinds_is_told_apart_by_ids(shelf: Path) -> None:
    settings = AugmentSettings.model_validate(
        {"chain": "speaker-net", "musan": str(shelf / "musan"), "rir": str(shelf / "rir")}
    )
    banks = hold_banks(find_series(settings, Form(RATE)), num_samples=NUM_SAMPLES)
    assert banks.index.kinds == {
        "noise": (0, 2),
        "room_noise": (0, 2),
        "music": (2, 2),
        "speech": (4, 2),
        "rir": (0, 2),
        "room_rir": (0, 2),
    }
    for number, kind in enumerate(("noise", "music", "speech")):
        for copy in (0, 1):
            start = (2 * number + copy) * 9000
            found = banks.samples[start : start + 9000]
            path = shelf / "musan" / f"{kind}-{copy}.wav"
            assert np.array_equal(found, soundfile.read(path, dtype="int16")[0])


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
