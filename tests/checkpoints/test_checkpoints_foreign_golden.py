"""Every recorded network of every project, through the import, and from the waveform."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from foreign_files import PEER_OF, fill_all, golden_models, recorded, save

from sv_cli.audio.read import read_waveform
from sv_cli.checkpoints.foreign.conversion import import_weights
from sv_cli.features.frontend import Frontend

NAMES = sorted(path.stem for path in golden_models.GOLDEN.glob("*.json"))
END_TO_END = (
    "wespeaker-visible:ecapa-glob-c512-astp-192",
    "wespeaker-visible:resnet34-tstp-256",
    "wespeaker-visible:campplus-tstp-512",
    "3ds-visible:eres2net-base-192",
    "3ds-visible:eres2netv2-192",
    "3ds-visible:campplus-192",
    "small-visible:resnet34-c32",
    "small-visible:ecapa-c512",
    "small-visible:ecapa-c1024",
)


def write(shared: Path, tmp_path: Path, name: str) -> Path:
    """A file of the recorded network's weights, under the project's keys and a telling name."""
    shapes = recorded(shared, name)["shapes"]
    return save(tmp_path / f"{name}.pt", fill_all(shapes))


# 28 branches deep: rounding differs by the vector width of the processor.
OTHER_TOLERANCES = {"matln_speaker-net-repvgg-b1": 2}


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_recorded_network(shared: Path, tmp_path: Path, name: str) -> None:
    golden = recorded(shared, name)
    imported = import_weights(write(shared, tmp_path, name))
    assert imported.project == PEER_OF[golden["peer"]]
    encoder = imported.model.build()
    assert sum(p.numel() for p in encoder.parameters()) == golden["parameters"]
    for case in golden["cases"]:
        case["largest"] = np.abs(case["embedding"]).max()
        tolerance = golden_models.TOLERANCE * OTHER_TOLERANCES.get(name, 1)
        assert max(golden_models.golden_difference(encoder, case)) <= tolerance


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name.startswith("wespeaker-visible:e") else pytest.mark.slow)
        for name in END_TO_END
    ],
)
def test_from_the_waveform(shared: Path, tmp_path: Path, name: str) -> None:
    file, _, network = name.partition(":")
    rows = json.loads((shared / "golden" / "e2e" / f"{file}.json").read_text())
    rows = [row for row in rows if row["name"] == network]
    peer = rows[0]["peer"].replace("/", "_")
    model = import_weights(write(shared, tmp_path, f"{peer}-{network}")).model
    encoder, frontend = model.build(), Frontend(model.frontend).eval()
    for row in rows:
        wav = shared / "golden" / "kaldi" / "wav" / f"{row['utt']}.wav"
        samples, _ = read_waveform(str(wav))
        with torch.inference_mode():
            ours = encoder(frontend(torch.from_numpy(samples)[None]))[0].numpy()
        theirs = np.array(row["embedding"])
        assert np.abs(ours - theirs).max() <= 2e-3 * np.abs(theirs).max()
        cosine = ours @ theirs / np.linalg.norm(ours) / np.linalg.norm(theirs)
        assert cosine >= 0.99999
