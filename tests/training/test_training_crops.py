"""Batches of runs whose epochs take several crops of an utterance: the same from any step on."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sv_cli.errors import SettingsError
from sv_cli.sampling.dataset import Batch
from sv_cli.sampling.shar_write import SharJob, write_shar
from sv_cli.settings.model import build_settings
from sv_cli.tables.datadir.directory import DataDir
from sv_cli.tables.kaldi.arrays import ArrayWriter
from sv_cli.training.data_path import DataPath
from sv_cli.training.distributed import World
from sv_cli.training.run import RunPaths, choose_frontend, load_data
from sv_cli.training.settings import TrainSettings

GRID = {
    "crops": "grid",
    "crop_hop_seconds": 0.3,
    "crop_min_tail_seconds": 0.1,
    "min_speaker_seconds": 2.0,
    "min_level": 1e-4,
}
BY_LENGTH = {"crops": "by_length", "crop_hop_seconds": 0.4, "padding": "zeros"}


@pytest.fixture(scope="module")
def sources(voices: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return the same utterances as recordings, as shards, and with made features."""
    root = tmp_path_factory.mktemp("sources")
    write_shar(DataDir.load(voices), SharJob(root / "shar", 7))
    feats = root / "feats"
    feats.mkdir()
    for name in ("utt2spk", "utt2dur"):
        (feats / name).write_bytes((voices / name).read_bytes())
    with ArrayWriter(f"ark,scp:{feats}/feats.ark,{feats}/feats.scp") as writer:
        for utt, seconds in (DataDir.load(voices).utt2dur or {}).items():
            rng = np.random.Generator(np.random.PCG64(round(100 * seconds)))
            writer.write(utt, rng.random((round(100 * seconds) - 2, 80), np.float32))
    return {"wav": voices, "shar": root / "shar", "feats": feats}


def data_path(
    source: Path, data: dict[str, Any], augment: dict[str, Any], *, rank: int = 0, size: int = 1
) -> DataPath:
    values = {
        "model": "ecapa_glob_c512",
        "batch_size": 8 // size,
        "augment": augment,
        "data": {"chunk_seconds": 0.5, "num_workers": 0, **data},
    }
    settings = build_settings(TrainSettings, values)
    found = load_data(settings, choose_frontend(settings), RunPaths(str(source), ""))
    return DataPath(found, settings, World(rank, size, torch.device("cpu")), augmented=True)


def same(one: Batch, other: Batch) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")
@pytest.mark.parametrize(
    ("kind", "data", "augment"),
    [
        ("wav", GRID, {"speeds": [0.9, 1.1], "speed_draw": "each"}),
        ("wav", {**BY_LENGTH, "crops_per_epoch": 150}, {"speeds": [0.9]}),
        ("shar", GRID, {"speeds": [0.9, 1.1]}),
        ("feats", {**BY_LENGTH, "max_seconds": 1.0, "source": "feats"}, {}),
    ],
)
def test_batches_are_the_same_from_any_step_on(
    sources: dict[str, Path], kind: str, data: dict[str, Any], augment: dict[str, Any]
) -> None:
    whole = list(data_path(sources[kind], data, augment).open(1))
    assert len(whole) > 8
    first = len(whole) // 2
    later = data_path(sources[kind], {**data, "num_workers": 2}, augment)
    rest = list(later.open(1, first_step=first))
    assert len(rest) == len(whole) - first
    assert all(same(one, other) for one, other in zip(whole[first:], rest, strict=True))
    # Of two processes each sees crops that the other does not, and crops are those of one process.
    halves = [list(data_path(sources[kind], data, augment, rank=r, size=2).open(1)) for r in (0, 1)]
    items = [torch.cat([batch.items for batch in half]) for half in halves]
    both = torch.cat(items).tolist()
    assert len(set(both)) == len(both) == 8 * len(whole)
    known = {
        int(item): (signal[signal != 0], label)
        for batch in whole
        for item, signal, label in zip(batch.items, batch.signals, batch.labels, strict=True)
    }
    for batch in halves[1]:
        for item, signal, label in zip(batch.items, batch.signals, batch.labels, strict=True):
            if int(item) in known:
                expected, number = known[int(item)]
                assert torch.equal(signal[signal != 0], expected) and label == number


def test_levels_of_features_are_not_known(sources: dict[str, Path]) -> None:
    with pytest.raises(SettingsError, match=r"`data\.min_level`"):
        data_path(sources["feats"], {"min_level": 0.1, "source": "feats"}, {})
