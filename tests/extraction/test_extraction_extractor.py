"""Batches equal single utterances; chunks, short utterances, skips; the precision chosen."""

import numpy as np
import pytest
import soundfile
import torch

from sv_cli.errors import AudioError, SettingsError, ShapeError
from sv_cli.extraction.extractor import Extractor
from sv_cli.extraction.precision import Form, choose_form
from sv_cli.extraction.settings import ExtractSettings
from sv_cli.features.frontend import Frontend
from sv_cli.features.settings import find_frontend
from sv_cli.tables.datadir.directory import Utterance

FP32 = Form("fp32", fused=True)
FRONTEND = find_frontend("wespeaker")


def make_extractor(encoder, form=FP32, **settings):
    return Extractor(encoder, FRONTEND, ExtractSettings(**settings), form=form)


def plain(encoder, waveform):
    feats = Frontend(FRONTEND).eval()(torch.from_numpy(waveform)[None])
    with torch.no_grad():
        return encoder(feats)[0].numpy()


@pytest.mark.parametrize("name", ["resnet34", "eres2net_base", "ecapa_glob_c512"])
@pytest.mark.parametrize("batch_size", [1, 4])
def test_batches_equal_one_by_one(make_encoder, waveforms, name, batch_size):
    encoder = make_encoder(name)
    rows = make_extractor(encoder, batch_size=batch_size).embed_batch(waveforms)
    for row, waveform in zip(rows, waveforms, strict=True):
        np.testing.assert_allclose(row, plain(encoder, waveform), rtol=1e-4, atol=1e-5)


def test_items_come_back_in_their_order(make_encoder, waveforms):
    extractor = make_extractor(make_encoder("resnet34"), batch_size=2)
    items = [(f"u{i}", waveform) for i, waveform in enumerate(waveforms)]
    names = [utt for utt, _ in extractor._embed_items(items, None, False)]
    assert names == [utt for utt, _ in items]


def test_stored_features_equal_recordings(make_encoder, waveforms):
    extractor = make_extractor(make_encoder("ecapa_glob_c512"))
    frontend = Frontend(FRONTEND).eval()
    stored = [
        (str(i), frontend.features(torch.from_numpy(w)[None])[0].numpy())
        for i, w in enumerate(waveforms)
    ]
    rows = dict(extractor.extract_feats(stored))
    expected = extractor.embed_batch(waveforms)
    np.testing.assert_array_equal(np.stack(list(rows.values())), expected)


def test_mean_norm_of_features_can_be_left_out(make_encoder, waveforms):
    encoder = make_encoder("resnet34")
    feats = Frontend(FRONTEND).eval()(torch.from_numpy(waveforms[0])[None])[0].numpy()
    ready = dict(make_extractor(encoder, mean_norm=False).extract_feats([("a", feats + 1.0)]))["a"]
    normed = dict(make_extractor(encoder).extract_feats([("a", feats + 1.0)]))["a"]
    assert np.abs(ready - normed).max() > 1e-3


def test_long_utterances_are_averaged_over_equal_chunks(make_encoder):
    encoder = make_encoder("resnet34")
    waveform = np.random.default_rng(1).standard_normal(400 + 160 * 250).astype(np.float32)
    extractor = make_extractor(encoder, max_seconds=1.0)
    feats = Frontend(FRONTEND).eval()(torch.from_numpy(waveform)[None])
    assert feats.shape[1] == 251
    chunks = torch.tensor_split(feats, 3, dim=1)
    with torch.no_grad():
        rows = torch.stack([encoder(chunk)[0] * chunk.shape[1] / 251 for chunk in chunks])
    np.testing.assert_allclose(extractor.embed(waveform), rows.sum(0).numpy(), rtol=1e-4, atol=1e-5)


def test_short_utterances_are_repeated_or_skipped(make_encoder):
    encoder = make_encoder("resnet34")
    waveform = np.random.default_rng(2).standard_normal(1000).astype(np.float32)
    feats = Frontend(FRONTEND).eval()(torch.from_numpy(waveform)[None])
    repeated = feats.repeat(1, 3, 1)[:, : encoder.min_frames]
    with torch.no_grad():
        expected = encoder(repeated)[0].numpy()
    row = make_extractor(encoder, min_speech=0.0).embed(waveform)
    np.testing.assert_allclose(row, expected, rtol=1e-4, atol=1e-5)
    with pytest.raises(AudioError, match="frames are too few"):
        make_extractor(encoder, short="skip", min_speech=0.0).embed(waveform)
    with pytest.raises(AudioError, match="100 samples are too few"):
        make_extractor(encoder, min_speech=0.0).embed(waveform[:100])


def test_bad_items_are_told_or_raised(make_encoder, tmp_path, waveforms):
    soundfile.write(tmp_path / "a.wav", waveforms[0], 16000)
    soundfile.write(tmp_path / "empty.wav", waveforms[0][:0], 16000)
    (tmp_path / "junk.wav").write_bytes(b"RIFFjunk")
    utterances = [Utterance(name, f"{name}.wav") for name in ("a", "empty", "junk", "missing")]
    extractor = make_extractor(make_encoder("resnet34"))
    skipped = {}
    rows = dict(
        extractor.extract(utterances, audio_root=str(tmp_path), on_skip=skipped.__setitem__)
    )
    assert list(rows) == ["a"]
    assert list(skipped) == ["empty", "junk", "missing"]
    with pytest.raises(AudioError, match="`empty`"):
        list(extractor.extract(utterances, audio_root=str(tmp_path)))


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.ones((20, 40), np.float32), "40 columns"),
        (np.full((20, 80), np.nan, np.float32), "NaN"),
        (np.ones((0, 80), np.float32), "matrix of frames"),
    ],
)
def test_features_that_do_not_fit_are_refused(make_encoder, array, message):
    extractor = make_extractor(make_encoder("resnet34"))
    with pytest.raises(ShapeError, match=message):
        list(extractor.extract_feats([("a", array)]))


def test_auto_tries_the_first_utterances(make_encoder, waveforms, monkeypatch):
    from sv_cli.extraction import precision

    encoder = make_encoder("resnet34")
    samples = [torch.randn(1, 100, 80)]
    cpu = torch.device("cpu")
    if precision.computes_bf16(cpu):
        monkeypatch.setattr(precision, "gains_by_bf16", lambda device: True)
        assert choose_form(encoder, "auto", device=cpu, samples=samples).precision == "bf16"
        monkeypatch.setitem(precision.MIN_COSINE, "bf16", 1.1)
        assert choose_form(encoder, "auto", device=cpu, samples=samples) == FP32
    else:
        with pytest.raises(SettingsError, match="has no bf16 convolutions"):
            choose_form(encoder, "bf16", device=cpu, samples=samples)
    monkeypatch.setattr(precision, "gains_by_bf16", lambda device: False)
    assert choose_form(encoder, "auto", device=cpu, samples=samples) == FP32
    monkeypatch.setitem(precision.MIN_COSINE, "fp32", 1.1)
    plain_form = choose_form(encoder, "auto", device=cpu, samples=samples)
    assert plain_form == Form("fp32", fused=False)
    extractor = Extractor(encoder, FRONTEND)
    np.testing.assert_allclose(
        extractor.embed(waveforms[0]), plain(encoder, waveforms[0]), rtol=1e-4, atol=1e-5
    )
    assert extractor.form == plain_form
