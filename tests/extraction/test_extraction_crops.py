"""Embeddings with crops: their inner product is the score of a plain loop over the definition."""

from itertools import combinations

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize
from typer.testing import CliRunner

from sv_cli.audio.read import read_waveform
from sv_cli.checkpoints.model_file import ModelFile, save_model
from sv_cli.cli import app
from sv_cli.errors import AudioError
from sv_cli.extraction.api import load_model
from sv_cli.extraction.crops import CropPlan
from sv_cli.extraction.extractor import Extractor
from sv_cli.extraction.precision import Form
from sv_cli.extraction.settings import ExtractSettings
from sv_cli.features.frontend import Frontend
from sv_cli.features.settings import find_frontend
from sv_cli.models.registry import build_model
from sv_cli.tables.datadir.directory import DataDir
from sv_cli.tables.embeddings import read_embeddings
from sv_cli.tables.pairs.scores import read_scores
from sv_cli.tables.text import write_table

CROP = 48240
FP32 = Form("fp32", fused=True)
FRONTEND = find_frontend("wespeaker")
SHORTER = {"crops": 3, "crop_seconds": 0.5}
FRONTENDS = {"resnet34": "wespeaker", "ecapa_taoruijie_c512": "taoruijie"}


def loop(encoder, frontend, waveforms, crops=5, length=CROP):
    """Score all pairs as it is defined: one utterance, one crop, one product after the other."""
    embed = lambda x: normalize(encoder(frontend(torch.from_numpy(x)[None])), dim=1)  # noqa: E731
    whole, parts = [], []
    with torch.no_grad():
        for samples in waveforms:
            whole.append(embed(samples))
            if len(samples) < length:
                samples = np.pad(samples, (0, length - len(samples)), "wrap")
            starts = np.linspace(0, len(samples) - length, num=crops)
            parts.append([embed(samples[int(start) : int(start) + length]) for start in starts])
    scores = np.empty((len(whole), len(whole)))
    for i in range(len(whole)):
        for j in range(len(whole)):
            products = [float(a @ b.T) for a in parts[i] for b in parts[j]]
            scores[i, j] = (float(whole[i] @ whole[j].T) + np.mean(products)) / 2
    return scores


def small(make_encoder, name):
    if name != "ecapa_taoruijie_c512":
        return make_encoder(name)
    torch.manual_seed(0)
    encoder = build_model(name, channels=32).eval()
    encoder.bn5.running_mean.normal_(std=0.1)
    return encoder


@pytest.mark.parametrize("name", FRONTENDS)
@pytest.mark.parametrize("batch_size", [0, 4])
def test_inner_products_are_the_scores_of_the_loop(make_encoder, name, batch_size):
    draw = np.random.default_rng(0)
    lengths = (12345, CROP + 1, 60000, 60000)
    waveforms = [(0.1 * draw.standard_normal(n)).astype(np.float32) for n in lengths]
    encoder, settings = small(make_encoder, name), find_frontend(FRONTENDS[name])
    wanted = ExtractSettings(crops=5, batch_size=batch_size)
    rows = Extractor(encoder, settings, wanted, form=FP32).embed_batch(waveforms)
    expected = loop(encoder, Frontend(settings).eval(), waveforms)
    assert rows.shape == (4, 2 * encoder.embedding_dim)
    np.testing.assert_allclose(rows.astype(np.float64) @ rows.T, expected, rtol=0, atol=1e-5)


def test_crops_are_cut_from_the_first_sample_to_the_last():
    plan = CropPlan(5, 100)
    samples = np.arange(114, dtype=np.float32)
    crops, counts = plan.cut(samples)
    assert [int(crop[0]) for crop in crops] == [0, 3, 7, 10, 14]  # 3.5 and 10.5 towards 0
    assert crops[-1][-1] == 113 and counts == [1] * 5
    crops, counts = plan.cut(samples[:102])
    assert [int(crop[0]) for crop in crops] == [0, 1, 2] and counts == [2, 2, 1]
    crops, counts = plan.cut(samples[:40])
    np.testing.assert_array_equal(crops[0], np.tile(samples[:40], 3)[:100])
    assert counts == [5]


def test_an_utterance_that_is_skipped_is_skipped_once(encoder):
    waveforms = [np.full(n, 0.1, np.float32) for n in (20000, 50, 20000)]
    items = [(str(i), waveform) for i, waveform in enumerate(waveforms)]
    items.append(("gone", AudioError("gone")))
    settings = ExtractSettings(batch_size=2, **SHORTER)
    extractor = Extractor(encoder, FRONTEND, settings, form=FP32)
    skipped = {}
    rows = dict(extractor._embed_items(items, skipped.__setitem__, False))
    assert (list(rows), list(skipped)) == (["0", "2"], ["1", "gone"])


@pytest.fixture
def encoder(make_encoder):
    return make_encoder("resnet34")


@pytest.fixture
def world(shared, tmp_path, monkeypatch, encoder):
    """A small model, and some recordings of the real development set of the shared data."""
    monkeypatch.chdir(shared / "data")
    options = {"m_channels": 4, "num_blocks": (1, 1, 1, 1), "embedding_dim": 16}
    model = ModelFile("resnet34", options, FRONTEND, encoder.state_dict())
    save_model(tmp_path / "model.pt", model)
    data = DataDir.load("data/dev")
    chosen = [utt for utts in list(data.spk2utt.values())[:3] for utt in utts[:4]]
    (tmp_path / "data").mkdir()
    for name, table in (("wav.scp", data.wav), ("utt2spk", data.utt2spk)):
        write_table(str(tmp_path / "data" / name), {utt: table[utt] for utt in chosen})
    trials = "".join(f"{one} {other}\n" for one, other in combinations(chosen, 2))
    (tmp_path / "data/trials").write_text(trials)
    return tmp_path


def svtool(*words, status=0):
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == status, result.stderr + str(result.exception)
    return result.stderr


def test_real_speech_through_the_whole_chain(world, encoder):
    data = world / "data"
    options = ["--crops", 3, "--crop-seconds", 0.5, "--precision", "fp32"]
    svtool("extract", world / "model.pt", data, world / "crops", *options)
    svtool("extract", world / "model.pt", data, world / "plain", "--precision", "fp32")
    emb, trials = world / "crops", data / "trials"
    said = svtool("score", trials, emb, emb, world / "scores")
    assert "inner product, as the record" in said
    scores = read_scores(str(world / "scores"))

    utts = sorted({*scores.enroll_ids, *scores.test_ids})[:6]
    paths = {u.utt: u.rx for u in DataDir.load(data).recordings()}
    table = read_embeddings(str(emb))
    mine = table.take(utts).matrix.astype(np.float64)
    waveforms = [read_waveform(paths[utt])[0] for utt in utts]
    by_loop = loop(encoder, Frontend(FRONTEND).eval(), waveforms, 3, 8000)
    np.testing.assert_allclose(mine @ mine.T, by_loop, rtol=0, atol=1e-5)

    settings = ExtractSettings(precision="fp32", **SHORTER)
    loaded = load_model(world / "model.pt", settings=settings)
    vectors = [loaded.embed_file(paths[utt]) for utt in utts]
    np.testing.assert_allclose(mine, vectors, atol=1e-6)
    assert loaded.similarity(*vectors[:2]) == pytest.approx(by_loop[0, 1], abs=1e-5)

    matrix = table.matrix.astype(np.float64)
    pairs = (
        [table.index[scores.enroll_ids[n]] for n in scores.enroll],
        [table.index[scores.test_ids[n]] for n in scores.test],
    )
    products = np.einsum("ij,ij->i", matrix[pairs[0]], matrix[pairs[1]])
    np.testing.assert_allclose(scores.score, products, rtol=0, atol=1e-6)

    svtool("asnorm", world / "scores", emb, emb, emb, world / "normed", "--top-n", 5)
    cohort = matrix @ matrix.T
    top = np.sort(cohort, axis=1)[:, -5:]
    mean, std = top.mean(axis=1), top.std(axis=1)
    expected = sum((products - mean[rows]) / std[rows] for rows in pairs) / 2
    normed = read_scores(str(world / "normed"))
    np.testing.assert_allclose(normed.score, expected, rtol=1e-4, atol=1e-4)


def test_what_does_not_go_together_is_refused(world):
    options = ["--crops", 3, "--crop-seconds", 0.5]
    data, emb, plain = world / "data", world / "crops", world / "plain"
    svtool("extract", world / "model.pt", data, emb, *options)
    svtool("extract", world / "model.pt", data, plain)
    info = read_embeddings(str(emb)).info
    assert (info.inner_product, info.embedding_dim) == (True, 32)
    assert info.model == "resnet34 with 3 crops of 0.5 s"
    trials = data / "trials"
    assert "have 32 values, those of" in svtool("score", trials, emb, plain, status=1)
    for option in (["--submean", plain], ["--length-norm"]):
        said = svtool("score", trials, emb, emb, *option, status=2)
        assert f"`{option[0]}` is for cosines" in said
    write_table(str(world / "spk2utt"), {"s": " ".join(read_embeddings(str(emb)).ids)})
    said = svtool("mean", world / "spk2utt", emb, world / "m", "--length-norm", status=2)
    assert "is scored by the inner product" in said
    said = svtool("score", trials, plain, plain, world / "s", "--inner-product")
    said = svtool("asnorm", world / "s", plain, plain, plain, "--top-n", 5, status=1)
    assert "do not go together: score inner_product True and False" in said
    said = svtool("extract", world / "model.pt", "scp:feats.scp", world / "f", *options, status=2)
    assert "`--crops` takes recordings" in said
    said = svtool("extract", world / "model.pt", data, emb, "--crops", 2, "--resume", status=1)
    assert "another model, data or settings" in said
