"""Archives that Kaldi itself wrote."""

import kaldiio
import numpy as np
import pytest
from tolerances import COMPRESSED, KALDI_TEXT_RELATIVE

from sv_cli.tables.kaldi.arrays import read_array, read_arrays, read_scalars
from sv_cli.tables.pairs.scores import join, read_scores
from sv_cli.tables.pairs.trials import read_trials
from sv_cli.tables.text import read_floats, read_spk2utt


@pytest.fixture
def kaldi(shared, monkeypatch):
    monkeypatch.chdir(shared / "golden" / "kaldi")
    return shared / "golden" / "kaldi"


def test_every_archive_is_read_as_kaldiio_reads_it(kaldi):
    archives = [path for path in sorted(kaldi.glob("*/*.ark")) if path.stem != "segments-wav"]
    assert len(archives) > 40
    for path in archives:
        ours, theirs = read_arrays(f"ark:{path}"), dict(kaldiio.load_ark(str(path)))
        assert list(ours) == list(theirs), path
        for key, array in theirs.items():
            if array.size:
                np.testing.assert_allclose(ours[key], array, rtol=0, atol=COMPRESSED)
            else:
                assert ours[key].shape == (0, 0)


@pytest.mark.parametrize("name", ["fbank/fbank.snip.povey.20-0", "mfcc/vad", "fbank/store.cm2"])
def test_scp_and_ark_agree(kaldi, name):
    by_ark, by_scp = read_arrays(f"{name}.ark"), read_arrays(f"{name}.scp")
    assert by_ark.keys() == by_scp.keys()
    for key, array in by_ark.items():
        np.testing.assert_array_equal(array, by_scp[key])


@pytest.mark.parametrize("method", [2, 3, 5])
def test_row_11_expansion_is_kaldis(kaldi, method):
    ours = read_arrays(f"fbank/store.cm{method}.ark")
    for key, expanded in read_arrays(f"fbank/store.cm{method}.expanded.ark").items():
        np.testing.assert_allclose(ours[key], expanded, rtol=0, atol=COMPRESSED)


def test_row_46_kaldis_text_is_its_binary_to_7_digits(kaldi):
    text, binary = read_arrays("fbank/store.text.ark"), read_arrays("fbank/store.f32.ark")
    for key, array in binary.items():
        np.testing.assert_allclose(text[key], array, rtol=KALDI_TEXT_RELATIVE)


def test_files_without_keys(kaldi):
    assert read_array("plda/mean.vec").shape == (32,)
    np.testing.assert_allclose(
        read_array("plda/lda.mat"), read_array("plda/lda.txt"), rtol=KALDI_TEXT_RELATIVE
    )


def test_text_tables_of_kaldi(kaldi):
    assert len(read_floats("lists/wav-to-duration.txt")) == 24
    counts = read_scalars("ark:plda/enroll.num_utts")
    groups = read_spk2utt("plda/enroll.spk2utt")
    assert {key: len(utts) for key, utts in groups.items()} == counts
    assert read_scalars("ark:fbank/utt2num_frames") == read_floats("fbank/utt2num_frames")
    vad = read_arrays("ark:mfcc/vad.txt")
    for key, array in read_arrays("mfcc/vad.ark").items():
        np.testing.assert_array_equal(vad[key], array)


def test_trials_and_scores_of_kaldi(kaldi):
    trials = read_trials("plda/trials", labels="required")
    scores = read_scores("plda/scores.plda.norm.n")
    assert len(join(trials, scores)) == len(trials)


def test_lists_of_voxceleb(shared):
    trials = read_trials(str(shared / "data" / "lists" / "veri_test2.txt"), labels="required")
    assert len(trials) == 37611
    lists = shared / "data" / "lists"
    scores = read_scores(str(lists / "voxsrc2021_val_scores.head.txt"))
    trials = read_trials(str(lists / "voxsrc2021_val_trials.head.txt"))
    assert np.isfinite(join(trials, scores)).all()
