"""`svtool qmf measure|train|apply|trials`."""

from typing import Annotated

import typer

from sv_cli import logs
from sv_cli.commands.calibrate import Out, Prior, ScoreColumns, Scores, Trials
from sv_cli.commands.feature_run import AudioRoot
from sv_cli.commands.fuse import CvFolds, CvScores, Seed, Utt2spk
from sv_cli.commands.skipping import Force, MaxSkipped, finish
from sv_cli.errors import SettingsError
from sv_cli.lock import claim_outputs

QualityTable = Annotated[str, typer.Argument(help="What `qmf measure` wrote.")]


def measure(
    sources: Annotated[
        list[str], typer.Argument(help="Data directories and embeddings of the utterances.")
    ],
    out: Annotated[str, typer.Argument(help="Quality table; `-` is stdout.")],
    stats: Annotated[
        str | None, typer.Option(help="What `asnorm --stats` wrote: cohort_mean, cohort_std.")
    ] = None,
    cohort: Annotated[
        str | None,
        typer.Option(
            help="Cohort embeddings: cohort_mean, cohort_std of inner products, as speaker-net."
        ),
    ] = None,
    top_n: Annotated[
        int, typer.Option(min=2, help="With --cohort: highest inner products that are kept.")
    ] = 300,
    submean: Annotated[
        str | None,
        typer.Option(help="Subtract this mean from the embeddings and from the cohort."),
    ] = None,
    table: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=FILE", help="A further measure `utt NUMBER`; repeatable."),
    ] = None,
    spk2utt: Annotated[
        str | None,
        typer.Option(help="Enrolment models: each gets the mean of its utterances' measures."),
    ] = None,
    frame_shift: Annotated[
        float, typer.Option(min=0, help="Frame shift of vad.scp in milliseconds.")
    ] = 10.0,
    snr: Annotated[
        bool,
        typer.Option("--snr", help="Read the recordings of the data directories: `snr` (dB)."),
    ] = False,
    audio_root: AudioRoot = None,
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Leave out utterances that a source lacks.")
    ] = False,
    max_skipped: MaxSkipped = 0,
    force: Force = False,
) -> None:
    r"""Measure the quality of utterances.

    A data directory gives `duration` (s), and `speech_duration` (s) where it has a vad.scp;
    embeddings give their `magnitude`, and with `--cohort` mean and deviation of their highest inner
    products with a cohort (those of `--stats` are of cosines); `--snr` estimates the
    signal-to-noise ratio by WADA (Kim and Stern 2008). The table has a header line
    `utt MEASURE...`.

    \b
    Examples:
      $ svtool qmf measure data/eval emb/eval out/eval.quality --stats scores/eval.stats
      $ svtool qmf measure data/eval emb/eval - --submean emb/train --snr | head -n 3
      $ svtool qmf measure data/eval emb/eval out/inner.quality --cohort emb/cohort --top-n 4

    \b
    See also: qmf train, asnorm
    """
    from sv_cli.scoring.quality import (
        QualitySources,
        measure_quality,
        parse_tables,
        write_quality,
    )

    claim_outputs(out, force=force)
    tables = parse_tables(table or [])
    columns = _snr(sources, audio_root, allow_missing=allow_missing) if snr else {}
    options = (stats, cohort, top_n, submean, tables, frame_shift, spk2utt, columns, allow_missing)
    quality, skipped = measure_quality(QualitySources(sources, *options))
    write_quality(out, quality)
    done, names = len(quality.ids), ", ".join(quality.measures)
    text = f"measured {names} of {done} utterances"
    finish(text, done=done, skipped=skipped, max_skipped=max_skipped)


def _snr(
    sources: list[str], audio_root: str | None, *, allow_missing: bool
) -> dict[str, dict[str, float]]:
    """Return the column `snr` of all data directories among the sources."""
    from sv_cli.audio.snr import measure_snr
    from sv_cli.scoring.quality import is_data_dir
    from sv_cli.tables.datadir.directory import DataDir

    folders = [source for source in sources if is_data_dir(source)]
    if not folders:
        raise SettingsError("`--snr` needs a data directory, for its recordings")
    utterances = [each for folder in folders for each in DataDir.load(folder).recordings()]
    found = measure_snr(utterances, audio_root=audio_root, allow_missing=allow_missing)
    return {"snr": found}


def train(
    trials: Trials,
    scores: Scores,
    quality: QualityTable,
    model: Annotated[str, typer.Argument(help="Model to write (JSON).")],
    features: Annotated[
        str,
        typer.Option(
            help="wespeaker-voxceleb (13 with the score), wespeaker-cnceleb (9), speaker-net (5), "
            "or `MEASURE[<=CAP][:min+max+difference+ratio],...`."
        ),
    ] = "wespeaker-voxceleb",
    p_target: Prior = 0.5,
    ridge: Annotated[
        float, typer.Option(min=0, help="Penalty on the weights of standardised features.")
    ] = 1e-5,
    cv_folds: CvFolds = 0,
    cv_scores: CvScores = None,
    seed: Seed = 0,
    utt2spk: Utt2spk = None,
    columns: ScoreColumns = None,
    force: Force = False,
) -> None:
    r"""Learn to weigh a score and the quality of both sides into a log-likelihood ratio (nats).

    With `--cv-folds` every trial is also scored by a fit that was made without its speakers.

    \b
    Examples:
      $ svtool qmf train data/dev/trials scores/dev.asnorm qmf/dev out/qmf.json
      $ cat scores/dev.asnorm | svtool qmf train data/dev/trials - qmf/dev out/q.json --ridge 1e-4

    \b
    See also: qmf measure, qmf apply, qmf trials
    """
    from sv_cli.scoring.cross_validation import CrossValidation
    from sv_cli.scoring.qmf import QmfFitting, train_qmf

    claim_outputs(model, *([cv_scores] if cv_scores else []), force=force)
    files = (trials, scores, quality, model)
    fitting = QmfFitting(p_target, ridge)
    validation = CrossValidation(cv_folds, seed, tuple(utt2spk or ()), cv_scores)
    done = train_qmf(
        *files, features=features, fitting=fitting, validation=validation, columns=columns
    )
    finish(f"fitted on {done} trials", done=done)


def apply(
    model: Annotated[str, typer.Argument(help="What `qmf train` wrote.")],
    scores: Scores,
    quality: QualityTable,
    out: Out = "-",
    columns: ScoreColumns = None,
    force: Force = False,
) -> None:
    r"""Weigh the quality of both sides into scores.

    \b
    Examples:
      $ svtool qmf apply qmf/model.json scores/eval.asnorm qmf/eval out/eval.qmf
      $ svtool qmf apply qmf/model.json scores/eval.asnorm qmf/eval | svtool eval data/eval/trials -

    \b
    See also: qmf measure, qmf train, eval
    """
    from sv_cli.scoring.qmf import apply_qmf_model

    claim_outputs(out, force=force)
    done = apply_qmf_model(model, scores, quality, out, columns=columns)
    finish(f"wrote {done} scores", done=done)


def trials(
    data: Annotated[str, typer.Argument(help="Data directory of training speakers.")],
    out: Annotated[str, typer.Argument(help="Trial list; `-` is stdout.")] = "-",
    num_trials: Annotated[int, typer.Option(min=6, help="Number of trials.")] = 30000,
    shortest: Annotated[
        float, typer.Option(min=0, help="Short utterances are longer than this (s).")
    ] = 2.0,
    boundary: Annotated[
        float, typer.Option(min=0, help="From here on utterances are long (s).")
    ] = 6.0,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the draw.")] = 0,
    force: Force = False,
) -> None:
    r"""Draw calibration trials from a training set by duration.

    Six equal shares: short-short, short-long and long-long pairs, of one speaker and of two.

    \b
    Examples:
      $ svtool qmf trials data/train out/calibration.trials --num-trials 60 --boundary 2.5
      $ svtool qmf trials data/train - --num-trials 60 --boundary 2.5 | grep -c nontarget

    \b
    See also: qmf train, calibrate
    """
    from sv_cli.scoring.qmf import draw_calibration_trials

    claim_outputs(out, force=force)
    limits = (shortest, boundary)
    done = draw_calibration_trials(data, out, num_trials=num_trials, limits=limits, seed=seed)
    if done < num_trials:
        logs.warn(f"{num_trials} trials were asked for; {data} has pairs for {done}")
    finish(f"drew {done} trials", done=done)
