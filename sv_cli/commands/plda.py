"""`svtool plda train|lda|transform|adapt|copy|score|dense`."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from sv_cli.backend.plda_settings import AdaptSettings, LengthNorm, PldaSettings
from sv_cli.commands.skipping import AllowMissing, Force, MaxSkipped, finish
from sv_cli.commands.table_output import claim_table
from sv_cli.lock import claim_outputs
from sv_cli.settings.flags import settings_flags
from sv_cli.settings.model import build_settings

Spk2utt = Annotated[str, typer.Argument(help="Table of speakers and their utterances.")]
Embeddings = Annotated[str, typer.Argument(help="Embeddings: a specifier or directory.")]
MeanSource = Annotated[
    str | None, typer.Option("--mean", help="Subtract this mean: a vector file, or embeddings.")
]
Text = Annotated[bool, typer.Option("--text", help="Write the model as text.")]
NoFront = Annotated[
    bool, typer.Option("--no-front", help="Leave out the preprocessing of the PLDA.")
]


@settings_flags("settings", PldaSettings)
def train(
    spk2utt: Spk2utt,
    embeddings: Embeddings,
    plda: Annotated[str, typer.Argument(help="Model to write, in Kaldi's format.")],
    settings: PldaSettings,
    mean: MeanSource = None,
    lda: Annotated[
        str | None,
        typer.Option("--lda", help="Read this transform; with --lda-dim, write it here."),
    ] = None,
    text: Text = False,
    allow_missing: AllowMissing = False,
    max_skipped: MaxSkipped = 0,
    force: Force = False,
) -> None:
    r"""Train a PLDA, with mean, LDA and length norm in front where asked.

    Without options it is Kaldi's ivector-compute-plda. The preprocessing is written next to the
    model (PLDA.json, PLDA.mean.vec, PLDA.lda.mat), and `plda score` picks it up.

    \b
    Examples:
      $ svtool plda train data/train/spk2utt emb/train out/plda --center --lda-dim 8 --length-norm
      $ cat emb/train/xvector.ark | svtool plda train data/train/spk2utt ark:- out/plda.raw

    \b
    See also: plda score, plda adapt, plda lda, mean
    """
    from sv_cli.scoring import plda as plda_jobs
    from sv_cli.scoring import plda_preprocessing as plda_front

    writes_lda = lda is not None and settings.lda_dim is not None
    outputs: list[str | Path] = [*plda_front.model_files(plda)]
    if lda is not None and writes_lda:
        outputs.append(lda)
    claim_outputs(*outputs, force=force)
    sources = plda_jobs.Training(spk2utt, embeddings, mean, lda)
    groups = plda_jobs.train(sources, plda, settings, text=text, allow_missing=allow_missing)
    what = f"trained a PLDA of {len(groups.ids)} speakers, {groups.counts.sum()} embeddings"
    done, skipped = int(groups.counts.sum()), len(groups.missing)
    finish(what, done=done, skipped=skipped, max_skipped=max_skipped)


def lda(
    spk2utt: Spk2utt,
    embeddings: Embeddings,
    lda: Annotated[str, typer.Argument(help="Transform to write, a Kaldi matrix.")],
    dim: Annotated[int, typer.Option("--dim", min=1, help="Dimensions kept.")] = 100,
    total_covariance_factor: Annotated[
        float,
        typer.Option(min=0, max=1, help="Share of the total covariance in what LDA makes unit."),
    ] = 0.0,
    whiten: Annotated[
        bool, typer.Option("--whiten", help="Make the total covariance unit; speakers unused.")
    ] = False,
    mean: MeanSource = None,
    text: Text = False,
    allow_missing: AllowMissing = False,
    max_skipped: MaxSkipped = 0,
    force: Force = False,
) -> None:
    r"""Estimate LDA, or whitening, as Kaldi's ivector-compute-lda.

    \b
    Examples:
      $ svtool plda lda data/train/spk2utt emb/train out/lda.mat --dim 8
      $ cat emb/train/xvector.ark | svtool plda lda data/train/spk2utt ark:- out/white.mat --whiten

    \b
    See also: plda transform, plda train
    """
    from sv_cli.scoring import plda as plda_jobs

    claim_outputs(lda, force=force)
    values: dict[str, Any] = {"lda_dim": None if whiten else dim, "whiten": whiten}
    values["total_covariance_factor"] = total_covariance_factor
    settings = build_settings(PldaSettings, values)
    sources = plda_jobs.Training(spk2utt, embeddings, mean, lda)
    groups = plda_jobs.estimate_lda(sources, settings, text=text, allow_missing=allow_missing)
    what = f"wrote a transform of {groups.counts.sum()} embeddings"
    done, skipped = int(groups.counts.sum()), len(groups.missing)
    finish(what, done=done, skipped=skipped, max_skipped=max_skipped)


def transform(
    matrix: Annotated[str, typer.Argument(help="Transform (lda.mat), or a PLDA with a front.")],
    embeddings: Embeddings,
    out: Annotated[str, typer.Argument(help="Transformed embeddings.")] = "-",
    mean: MeanSource = None,
    length_norm: Annotated[
        bool, typer.Option("--length-norm", help="Scale to sqrt(dim) afterwards.")
    ] = False,
    force: Force = False,
) -> None:
    r"""Apply an LDA or whitening to embeddings, or the whole preprocessing of a PLDA.

    \b
    Examples:
      $ svtool plda transform plda/lda.mat emb/eval out/eval.lda --length-norm
      $ svtool plda transform plda/plda emb/eval | svtool score data/eval/trials ark:- ark:-

    \b
    See also: plda lda, plda train
    """
    from sv_cli.scoring import plda as plda_jobs

    claim_table(out, force=force)
    files = (matrix, embeddings, out)
    num_done = plda_jobs.transform(files, mean=mean, length_norm=length_norm)
    finish(f"transformed {num_done} embeddings", done=num_done)


@settings_flags("settings", AdaptSettings)
def adapt(
    plda: Annotated[str, typer.Argument(help="Model to adapt.")],
    embeddings: Annotated[str, typer.Argument(help="Embeddings of the new domain, unlabelled.")],
    out: Annotated[str, typer.Argument(help="Adapted model to write.")],
    settings: AdaptSettings,
    mean: MeanSource = None,
    no_front: NoFront = False,
    text: Text = False,
    force: Force = False,
) -> None:
    r"""Adapt a PLDA to another domain without speaker labels, as Kaldi's ivector-adapt-plda.

    With `--mean` the mean in front of the PLDA is replaced by that of the new domain.

    \b
    Examples:
      $ svtool plda adapt plda/plda emb/dev out/plda.dev
      $ cat emb/dev/xvector.ark | svtool plda adapt plda/plda ark:- out/plda.new --mean emb/dev

    \b
    See also: plda train, plda score
    """
    from sv_cli.scoring import plda as plda_jobs
    from sv_cli.scoring import plda_preprocessing as plda_front

    claim_outputs(*plda_front.model_files(out), force=force)
    job = plda_jobs.Model(plda, mean=mean, use_front=not no_front)
    num_done = plda_jobs.adapt(job, embeddings, out, settings=settings, text=text)
    finish(f"adapted a PLDA to {num_done} embeddings", done=num_done)


def copy(
    plda: Annotated[str, typer.Argument(help="Model to read, binary or text.")],
    out: Annotated[str, typer.Argument(help="Model to write.")],
    smoothing: Annotated[
        float,
        typer.Option(min=0, max=1, help="Share of the between- added to the within-covariance."),
    ] = 0.0,
    text: Text = False,
    force: Force = False,
) -> None:
    r"""Copy a PLDA, binary or text, with smoothing, as Kaldi's ivector-copy-plda.

    \b
    Examples:
      $ svtool plda copy plda/plda out/plda.smooth --smoothing 0.1
      $ svtool plda copy plda/plda /dev/stdout --text --force | tail -1

    \b
    See also: plda train, plda adapt
    """
    from sv_cli.scoring import plda as plda_jobs
    from sv_cli.scoring import plda_preprocessing as plda_front

    claim_outputs(*plda_front.model_files(out), force=force)
    plda_jobs.copy(plda, out, smoothing=smoothing, text=text)
    finish("copied a PLDA", done=1)


def score(
    plda: Annotated[str, typer.Argument(help="Model.")],
    enroll: Annotated[str, typer.Argument(help="Enrolment embeddings.")],
    test: Annotated[str, typer.Argument(help="Test embeddings.")],
    trials: Annotated[str, typer.Argument(help="Trials.")],
    scores: Annotated[str, typer.Argument(help="Scores to write.")] = "-",
    enroll_spk2utt: Annotated[
        str | None,
        typer.Option(help="Enrolment models and their utterances, averaged after the front."),
    ] = None,
    num_utts: Annotated[
        str | None, typer.Option(help="Utterances that each enrolment embedding is the mean of.")
    ] = None,
    length_norm: Annotated[
        LengthNorm,
        typer.Option(
            help="Length norm in the PLDA's space: Kaldi's normalize-length, its simple "
            "form, or none."
        ),
    ] = "psi",
    smoothing: Annotated[
        float,
        typer.Option(min=0, max=1, help="Share of the between- added to the within-covariance."),
    ] = 0.0,
    mean: MeanSource = None,
    no_front: NoFront = False,
    allow_missing: AllowMissing = False,
    max_skipped: MaxSkipped = 0,
    force: Force = False,
) -> None:
    r"""Score trials by the log-likelihood ratio of a PLDA.

    What `plda train` writes next to the model (mean, LDA, length norm) is applied first.

    \b
    Examples:
      $ svtool plda score plda/plda emb/eval emb/eval data/eval/trials out/eval.plda
      $ cat emb/eval/xvector.ark | svtool plda score plda/plda ark:- ark:- data/eval/trials | tail

    \b
    See also: plda train, mean, score, calibrate, eval
    """
    from sv_cli.scoring import plda as plda_jobs

    claim_outputs(scores, force=force or scores == "-")
    job = plda_jobs.Model(plda, mean=mean, use_front=not no_front, smoothing=smoothing)
    models = plda_jobs.EnrollModels(enroll_spk2utt, num_utts)
    done, skipped = plda_jobs.score(
        job,
        (enroll, test, trials, scores),
        models=models,
        length_norm=length_norm,
        allow_missing=allow_missing,
    )
    finish(f"wrote {done} scores", done=done, skipped=skipped, max_skipped=max_skipped)


def dense(
    plda: Annotated[str, typer.Argument(help="Model.")],
    reco2utt: Annotated[str, typer.Argument(help="Table of recordings and their segments.")],
    embeddings: Annotated[str, typer.Argument(help="Embeddings of the segments.")],
    scores: Annotated[str, typer.Argument(help="One matrix of scores a recording.")] = "-",
    target_energy: Annotated[
        float,
        typer.Option(min=0, max=1, help="Share of a recording's variance that is kept."),
    ] = 0.5,
    length_norm: Annotated[
        Literal["psi", "simple", "none"], typer.Option(help="Length norm in the PLDA's space.")
    ] = "psi",
    no_front: NoFront = False,
    force: Force = False,
) -> None:
    r"""Score all segments of each recording with each other, as ivector-plda-scoring-dense.

    \b
    Examples:
      $ svtool plda dense plda/plda data/eval/spk2utt emb/eval out/dense
      $ svtool plda dense plda/plda data/eval/spk2utt emb/eval ark,t:- | tail -1

    \b
    See also: plda score
    """
    from sv_cli.scoring import plda as plda_jobs

    claim_table(scores, wanted="scores", force=force)
    job = plda_jobs.Model(plda, use_front=not no_front)
    num_done = plda_jobs.score_dense(
        job,
        (reco2utt, embeddings, scores),
        target_energy=target_energy,
        length_norm=length_norm,
    )
    finish(f"wrote {num_done} matrices of scores", done=num_done)
