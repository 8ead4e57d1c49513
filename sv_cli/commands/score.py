"""`svtool score`."""

import math
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from sv_cli.commands.skipping import AllowMissing, Force, MaxSkipped, finish
from sv_cli.errors import SettingsError
from sv_cli.lock import claim_outputs

if TYPE_CHECKING:
    from sv_cli.backend.cosine import Gemm

InnerProduct = Annotated[
    bool,
    typer.Option(
        "--inner-product", help="Take embeddings as long as they are, in place of the cosine."
    ),
]


def score(
    trials: Annotated[str, typer.Argument(help="Trials; left out with --dense.")],
    enroll: Annotated[str, typer.Argument(help="Enrolment embeddings.")],
    test: Annotated[str | None, typer.Argument(help="Test embeddings.")] = None,
    scores: Annotated[str | None, typer.Argument(help="Scores to write [default: -].")] = None,
    submean: Annotated[
        str | None,
        typer.Option(help="Subtract this mean: embeddings of a training set, or a vector file."),
    ] = None,
    enroll_spk2utt: Annotated[
        str | None, typer.Option(help="Enrolment models and their utterances.")
    ] = None,
    length_norm: Annotated[
        bool, typer.Option("--length-norm", help="Average models of embeddings of length 1.")
    ] = False,
    score_mean: Annotated[
        bool, typer.Option("--score-mean", help="Average the scores of a model's utterances.")
    ] = False,
    inner_product: InnerProduct = False,
    dense: Annotated[
        bool, typer.Option("--dense", help="All enrolments with all tests: ENROLL TEST [SCORES].")
    ] = False,
    top_k: Annotated[
        int | None, typer.Option(min=1, help="With --dense: the best enrolments of each test.")
    ] = None,
    threshold: Annotated[
        float | None, typer.Option(help="With --dense: only scores not below this cosine.")
    ] = None,
    num_shards: Annotated[
        int, typer.Option(min=1, help="With --dense: jobs that share the tests.")
    ] = 1,
    shard: Annotated[int, typer.Option(min=1, help="Which of them this is, from 1.")] = 1,
    device: Annotated[
        Literal["cpu", "cuda"], typer.Option(help="With --dense: where the products are made.")
    ] = "cpu",
    precision: Annotated[
        Literal["fp32", "bf16"],
        typer.Option(
            help="With --dense: of the products. A list is the same either way; an array has"
            " two to three digits in bf16."
        ),
    ] = "fp32",
    allow_missing: AllowMissing = False,
    max_skipped: MaxSkipped = 0,
    force: Force = False,
) -> None:
    r"""Score trials by the cosine of their embeddings, or by their inner product.

    The inner product is taken with `--inner-product`, and of embeddings whose record asks for
    it: those of `extract --crops`.

    With `--dense` there is no table of trials: every enrolment is scored with every test, into a
    list, or into a memory-mapped array when SCORES ends in `.npy`. `--num-shards N --shard I`, or
    torchrun, does one part and writes SCORES.I (the list) or SCORES.I.npy (rows of the array).

    \b
    Examples:
      $ svtool score data/eval/trials emb/eval emb/eval out/eval.scores --submean emb/train
      $ cat emb/eval/xvector.ark | svtool score data/eval/trials ark:- ark:- | sort -k3 -g | tail
      $ svtool score --dense emb/eval emb/eval out/best --top-k 3
      $ svtool score --dense emb/eval emb/eval out/near --threshold 0.5 --precision bf16

    \b
    See also: asnorm, qmf, plda score, eval
    """
    if not dense and (top_k, threshold, device, precision) != (None, None, "cpu", "fp32"):
        raise SettingsError(
            "`--top-k`, `--threshold`, `--device` and `--precision` belong to `--dense`"
        )
    if threshold is not None and not math.isfinite(threshold):
        raise SettingsError(f"`--threshold {threshold}` is no finite number")
    average = _average(length_norm=length_norm, score_mean=score_mean)
    from sv_cli.scoring import score as score_job
    from sv_cli.scoring.sides import SideOptions

    files = _arguments([trials, enroll, test, scores], dense=dense)
    share = score_job.settle_share(num_shards, shard, dense=dense)
    files[-1] = share.name(files[-1])
    claim_outputs(files[-1], force=force or files[-1] == "-")
    options = SideOptions(submean, enroll_spk2utt, None, average, allow_missing, inner_product)
    if dense:
        limits = score_job.Limits(top_k, threshold)
        gemm = _gemm(device, precision)
        done, skipped = score_job.score_rectangle(files, options, limits, share, gemm=gemm), 0
    else:
        done, skipped = score_job.score_trials(files, options)
    finish(f"wrote {done} scores", done=done, skipped=skipped, max_skipped=max_skipped)


def _gemm(device: Literal["cpu", "cuda"], precision: Literal["fp32", "bf16"]) -> "Gemm":
    """Return the product; torch is loaded for what numpy has not."""
    if (device, precision) == ("cpu", "fp32"):
        from sv_cli.backend.cosine import IN_NUMPY

        return IN_NUMPY
    from sv_cli.extraction.gemm import in_torch

    return in_torch(device, precision)


def _average(*, length_norm: bool, score_mean: bool) -> Literal["embeddings", "unit", "scores"]:
    if score_mean and length_norm:
        raise SettingsError("`--score-mean` averages scores, `--length-norm` embeddings; give one")
    return "scores" if score_mean else "unit" if length_norm else "embeddings"


def _arguments(given: list[str | None], *, dense: bool) -> list[str]:
    """Put the file names in order: those of TRIALS ENROLL TEST SCORES, less TRIALS if dense."""
    names = [name for name in given if name is not None]
    wanted = 2 if dense else 3
    if len(names) < wanted:
        raise SettingsError("missing argument `TEST`", hint="see `svtool score --help`")
    if len(names) > wanted + 1:
        raise SettingsError(
            "`--dense` takes no trials: ENROLL TEST [SCORES]", hint="leave the first argument out"
        )
    return names if len(names) > wanted else [*names, "-"]
