"""`svtool qmf measure|train|apply|trials`."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from sv_cli.cli import app


def run(*arguments, stdin=None):
    return CliRunner().invoke(app, [*map(str, arguments)], input=stdin)


@pytest.fixture
def folder(tmp_path):
    """8 speakers x 8 utterances with durations, embeddings, cohort statistics and scores."""
    generator = np.random.default_rng(4)
    utts = [f"s{spk}-{utt}" for spk in range(8) for utt in range(8)]
    data = tmp_path / "data"
    data.mkdir()
    seconds = generator.uniform(2.1, 12, len(utts))
    _write(data / "utt2dur", utts, [f"{value:.3f}" for value in seconds])
    _write(data / "utt2spk", utts, [utt[:2] for utt in utts])
    matrix = generator.standard_normal((len(utts), 3))
    _write(tmp_path / "emb.txt", utts, [f"[ {a:.6f} {b:.6f} {c:.6f} ]" for a, b, c in matrix])
    cohort = generator.uniform(0.1, 0.3, (len(utts), 2))
    _write(tmp_path / "stats", utts, [f"{mean:.9g} {std:.9g}" for mean, std in cohort])
    pairs = [(i, j) for i in range(len(utts)) for j in range(i + 1, len(utts))]
    same = np.array([i // 8 == j // 8 for i, j in pairs])
    shortest = np.array([min(seconds[i], seconds[j]) for i, j in pairs])
    scores = 2.0 * same - 0.3 * shortest + generator.standard_normal(len(pairs))
    keys = [f"{utts[i]} {utts[j]}" for i, j in pairs]
    _write(tmp_path / "trials", keys, np.where(same, "target", "nontarget"))
    _write(tmp_path / "scores", keys, scores)
    return tmp_path


def _write(path, keys, values):
    path.write_text("".join(f"{key} {value}\n" for key, value in zip(keys, values, strict=True)))


def _measure(folder, *more):
    sources = (folder / "data", f"ark,t:{folder}/emb.txt")
    return run("qmf", "measure", *sources, folder / "quality", "--stats", folder / "stats", *more)


def test_measures_are_those_of_the_sources(folder):
    assert _measure(folder).exit_code == 0
    header, *lines = (folder / "quality").read_text().splitlines()
    assert header == "utt duration magnitude cohort_mean cohort_std"
    assert lines == sorted(lines)
    values = {line.split()[0]: list(map(float, line.split()[1:])) for line in lines}
    duration = dict(line.split() for line in (folder / "data" / "utt2dur").read_text().splitlines())
    vector = (folder / "emb.txt").read_text().splitlines()[0].split()[2:5]
    first = values["s0-0"]
    assert first[0] == float(duration["s0-0"])
    assert first[1] == pytest.approx(np.linalg.norm(np.array(vector, float)), rel=1e-6)
    assert len(values) == 64


def test_cohort_statistics_of_inner_products(folder):
    generator = np.random.default_rng(8)
    cohort = generator.standard_normal((9, 3)).round(6)
    _write(
        folder / "cohort.txt",
        [f"c{row}" for row in range(9)],
        [f"[ {' '.join(map(str, row))} ]" for row in cohort.tolist()],
    )
    np.save(folder / "mean_vec.npy", np.array([0.5, -1.0, 0.25]))
    arguments = (folder / "data", f"ark,t:{folder}/emb.txt", folder / "quality")
    more = ("--cohort", f"ark,t:{folder}/cohort.txt", "--top-n", 4)
    mean = ("--submean", folder / "mean_vec.npy")
    assert run("qmf", "measure", *arguments, *more, *mean).exit_code == 0
    header, first = (folder / "quality").read_text().splitlines()[:2]
    assert header == "utt duration magnitude cohort_mean cohort_std"
    vector = np.array((folder / "emb.txt").read_text().splitlines()[0].split()[2:5], float)
    shift = np.load(folder / "mean_vec.npy")
    products = np.sort((cohort - shift) @ (vector - shift))[-4:]
    found = [float(value) for value in first.split()[3:]]
    np.testing.assert_allclose(found, [products.mean(), products.std()], rtol=1e-5)
    both = run("qmf", "measure", *arguments, *more, "--stats", folder / "stats", "--force")
    assert both.exit_code == 2
    assert "`cohort_mean` comes from two sources" in both.stderr


@pytest.mark.parametrize("wrong", ["inf", "-1", "nan"])
def test_durations_that_cannot_be_are_refused(folder, wrong):
    table = folder / "data" / "utt2dur"
    lines = table.read_text().splitlines()
    lines[2] = f"s0-2 {wrong}"
    table.write_text("\n".join(lines) + "\n")
    refused = _measure(folder)
    assert refused.exit_code == 1
    assert f"utt2dur:3`: `s0-2` has a duration of {wrong} s" in refused.stderr
    drawn = run("qmf", "trials", folder / "data", folder / "drawn")
    assert drawn.exit_code == 1
    assert not (folder / "drawn").exists()


def test_further_tables_and_models(folder):
    _write(folder / "snr", [f"s{i // 8}-{i % 8}" for i in range(64)], range(64))
    (folder / "spk2utt").write_text("m0 s0-0 s0-1\n")
    more = ("--table", f"snr={folder / 'snr'}", "--spk2utt", folder / "spk2utt")
    assert _measure(folder, *more).exit_code == 0
    header, *lines = (folder / "quality").read_text().splitlines()
    assert header.split()[-1] == "snr"
    rows = {line.split()[0]: np.array(line.split()[1:], float) for line in lines}
    np.testing.assert_allclose(rows["m0"], (rows["s0-0"] + rows["s0-1"]) / 2, rtol=1e-7)


def test_what_a_source_lacks_is_named(folder):
    lines = (folder / "stats").read_text().splitlines(keepends=True)
    (folder / "stats").write_text("".join(lines[2:]))
    result = _measure(folder)
    assert result.exit_code == 1
    assert "2 utterances have no `cohort_mean`: `s0-0`, `s0-1`" in result.stderr
    assert not (folder / "quality").exists()


def test_what_a_source_lacks_is_left_out_when_allowed(folder):
    lines = (folder / "stats").read_text().splitlines(keepends=True)
    (folder / "stats").write_text("".join(lines[2:]))
    result = _measure(folder, "--allow-missing")
    assert result.exit_code == 3
    assert "of 62 utterances, skipped 2" in result.stderr
    assert len((folder / "quality").read_text().splitlines()) == 63
    assert _measure(folder, "--allow-missing", "--max-skipped", "2", "--force").exit_code == 0
    (folder / "stats").write_text("nobody 0.1 0.2\n")
    assert _measure(folder, "--allow-missing", "--force").exit_code == 1


def test_snr_of_recordings(folder, tmp_path):
    soundfile = pytest.importorskip("soundfile")
    generator = np.random.default_rng(0)
    utts = [line.split()[0] for line in (folder / "data" / "utt2dur").read_text().splitlines()]
    for name, power in (("noise", 1.0), ("sparse", 8.0)):
        samples = 0.02 * generator.standard_normal(8000) ** power
        soundfile.write(tmp_path / f"{name}.wav", np.clip(samples, -1, 1), 16000)
    _write(folder / "data" / "wav.scp", utts, ["noise.wav", *["sparse.wav"] * 63])
    more = ("--snr", "--audio-root", tmp_path)
    assert _measure(folder, *more).exit_code == 0
    header, first, second = (folder / "quality").read_text().splitlines()[:3]
    assert header == "utt duration magnitude cohort_mean cohort_std snr"
    assert float(first.split()[-1]) < -5 < 20 < float(second.split()[-1])
    files = (folder / "trials", folder / "scores", folder / "quality", folder / "qmf.json")
    assert run("qmf", "train", *files, "--features", "snr<=40:min+difference").exit_code == 0
    result = run("qmf", "measure", f"ark,t:{folder}/emb.txt", folder / "other", "--snr")
    assert result.exit_code == 2
    assert "`--snr` needs a data directory" in result.stderr


def test_quality_lowers_cllr_and_a_pipe_gives_the_same_bytes(folder):
    _measure(folder)
    model = folder / "qmf.json"
    files = (folder / "trials", folder / "scores", folder / "quality")
    held_out = ("--cv-folds", "4", "--cv-scores", folder / "held-out")
    assert run("qmf", "train", *files, model, *held_out).exit_code == 0
    record = json.loads(model.read_text())
    assert len(record["weights"]) == 12
    result = run("eval", files[0], folder / "held-out", "--json")
    (system,) = json.loads(result.stdout)["systems"]
    assert system["cllr"] == pytest.approx(record["held_out_cllr"], abs=1e-6)
    assert record["held_out_cllr"] > record["cllr"]
    assert run("qmf", "apply", model, *files[1:], folder / "llr").exit_code == 0
    result = run("eval", files[0], files[1], folder / "llr", "--json")
    before, after = json.loads(result.stdout)["systems"]
    assert after["cllr"] < before["min_cllr"]
    scores = files[1].read_text()
    piped = run("qmf", "apply", model, "-", folder / "quality", stdin=scores)
    assert piped.stdout == (folder / "llr").read_text()


@pytest.mark.parametrize(
    ("features", "count"), [("speaker-net", 4), ("duration<=5:min+ratio,magnitude:max", 3)]
)
def test_chosen_features(folder, features, count):
    _measure(folder)
    files = (folder / "trials", folder / "scores", folder / "quality", folder / "qmf.json")
    assert run("qmf", "train", *files, "--features", features).exit_code == 0
    assert len(json.loads((folder / "qmf.json").read_text())["weights"]) == count
    result = run("qmf", "train", *files, "--features", "speaker-nett", "--force")
    assert result.exit_code == 2
    assert "did you mean `speaker-net`" in result.stderr


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.split("\n", 1)[1], "no header"),
        (lambda text: text + "s0-0 1 1 1 1\n", ":66`: `s0-0` repeats"),
        (lambda text: text + "x 1 1\n", ":66`: 3 fields in quality"),
        (lambda text: text + "x 1 1 1 y\n", ":66`: `y` is not a number"),
        (lambda text: text + "x 1 1 1 1_0\n", ":66`: `1_0` is not a number"),
    ],
)
def test_spoilt_quality_tables_are_refused(folder, change, message):
    _measure(folder)
    path = folder / "quality"
    path.write_text(change(path.read_text()))
    files = (folder / "trials", folder / "scores", path, folder / "qmf.json")
    result = run("qmf", "train", *files)
    assert result.exit_code == 1
    assert message in result.stderr


def test_calibration_trials(folder):
    result = run("qmf", "trials", folder / "data", "--num-trials", "60")
    assert result.exit_code == 0
    rows = [line.split() for line in result.stdout.splitlines()]
    assert len(rows) == 60
    assert all((one[:2] == two[:2]) == (label == "target") for one, two, label in rows)
    again = run("qmf", "trials", folder / "data", "--num-trials", "60")
    assert again.stdout == result.stdout
    other = run("qmf", "trials", folder / "data", "--num-trials", "60", "--seed", "1")
    assert other.stdout != result.stdout


def test_fewer_calibration_trials_than_asked_for_are_said(folder):
    result = run("qmf", "trials", folder / "data", folder / "drawn", "--num-trials", "30000")
    assert result.exit_code == 0
    assert "warning: 30000 trials were asked for" in result.stderr
    result = run("qmf", "trials", folder / "data", "--boundary", "100")
    assert result.exit_code == 1
    assert "no two speakers have both" in result.stderr
