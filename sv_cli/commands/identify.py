"""`svtool identify`."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Literal

import typer

from sv_cli.commands.feature_run import AudioRoot
from sv_cli.commands.score import InnerProduct
from sv_cli.commands.skipping import AllowMissing, Force, MaxSkipped, finish
from sv_cli.errors import SettingsError
from sv_cli.lock import claim_outputs

MODEL_SUFFIXES = (".pt", ".pth", ".safetensors")


def identify(
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="[MODEL] ENROLLED TEST [OUT]",
            help="Embeddings of enrolled speakers and of tests, and the table `test rank spk "
            "score` to write [default: -]; after a MODEL, also data directories.",
        ),
    ],
    top_k: Annotated[
        int, typer.Option("--top-k", min=1, help="The best speakers of each test.")
    ] = 1,
    threshold: Annotated[
        str | None,
        typer.Option(
            metavar="NUMBER|FILE",
            help="Score, or what `calibrate threshold` wrote; below it a speaker is `unknown`.",
        ),
    ] = None,
    enroll_spk2utt: Annotated[
        str | None, typer.Option(help="Enrolled speakers or models and their utterances.")
    ] = None,
    enroll_utt2spk: Annotated[
        str | None, typer.Option(help="The same, with the speaker of each utterance.")
    ] = None,
    length_norm: Annotated[
        bool, typer.Option("--length-norm", help="Average speakers of embeddings of length 1.")
    ] = False,
    submean: Annotated[
        str | None,
        typer.Option(help="Subtract this mean: embeddings of a training set, or a vector file."),
    ] = None,
    inner_product: InnerProduct = False,
    audio_root: AudioRoot = None,
    utt2spk: Annotated[
        list[str] | None,
        typer.Option(
            help="True speakers of the tests, and of enrolled keys that are no speakers: the "
            "identification rate is reported; repeatable."
        ),
    ] = None,
    allow_missing: AllowMissing = False,
    max_skipped: MaxSkipped = 0,
    force: Force = False,
) -> None:
    r"""Find the speaker of each test among all who are enrolled.

    Every test is scored with every enrolled speaker as by `score`, and the best are listed. A test
    whose best score is below the threshold gets one line: `test 1 unknown score`. A data directory
    is embedded by MODEL on the way, and its speakers are enrolled by its spk2utt; recordings
    without a usable signal are skipped, as by `extract`.

    \b
    Examples:
      $ svtool identify emb/dev emb/eval out/best --enroll-spk2utt data/dev/spk2utt --top-k 3
      $ svtool calibrate threshold data/dev/trials scores/dev.cosine out/threshold.json
      $ svtool identify emb/dev emb/eval out/speakers --threshold out/threshold.json
      $ svtool identify exp/eres2net data/dev data/eval out/who --top-k 2
      $ cat emb/eval/xvector.ark | svtool identify emb/cohort ark:- --threshold 0.9 | sort -g -k4

    \b
    See also: score, calibrate threshold, extract
    """
    from sv_cli.scoring import identify as job
    from sv_cli.scoring.sides import SideOptions

    model, enrolled, test, out = _arguments(files)
    claim_outputs(out, force=force)
    groups = (_speakers(enrolled, enroll_spk2utt, enroll_utt2spk), enroll_utt2spk)
    average: Literal["unit", "embeddings"] = "unit" if length_norm else "embeddings"
    enrolling = SideOptions(submean, *groups, average, allow_missing, inner_product)
    wanted = job.IdentifyOptions(top_k, threshold, tuple(utt2spk or ()))
    with _embedded(model, [enrolled, test], audio_root) as (tables, lost):
        found = job.identify((tables[0], tables[1], out), enrolling, wanted)
    text = f"identified {found.num_tests} tests among {found.num_enrolled} speakers"
    if threshold is not None:
        text = f"{text}, {found.num_tests - found.num_known} unknown"
    skipped = found.num_skipped + lost
    finish(text, done=found.num_tests, skipped=skipped, max_skipped=max_skipped)


def _arguments(files: Sequence[str]) -> tuple[str | None, str, str, str]:
    """Return model, enrolled, test and output."""
    model, *names = files if _is_model(files[0]) else [None, *files]
    if len(names) not in (2, 3):
        raise SettingsError(
            f"{len(names)} tables, where ENROLLED, TEST and at most OUT are wanted",
            hint="see `svtool identify --help`",
        )
    return model, str(names[0]), str(names[1]), str(names[2]) if len(names) == 3 else "-"


def _is_model(name: str) -> bool:
    """Return whether a name is a model (file, folder, `DIR:best`, `hub:NAME`), not a table."""
    place = Path(name.partition(":")[0] or name)
    if place.is_dir():
        return any(place.glob("*.pt"))
    return name.startswith("hub:") or place.suffix in MODEL_SUFFIXES


def _speakers(enrolled: str, spk2utt: str | None, utt2spk: str | None) -> str | None:
    """Return the table of enrolled speakers: of a data directory its own, unless one is given."""
    own = Path(enrolled) / "spk2utt"
    return str(own) if spk2utt is None and utt2spk is None and own.is_file() else spk2utt


@contextmanager
def _embedded(
    model: str | None, sources: Sequence[str], audio_root: str | None
) -> Iterator[tuple[list[str], int]]:
    """Give tables of embeddings, of data directories by the model, and how many were left out."""
    with TemporaryDirectory() as folder:
        tables, lost = [], 0
        for place, source in enumerate(sources):
            if (Path(source) / "wav.scp").is_file():
                tables.append(f"{folder}/{place}")
                lost += _embed(model, source, tables[-1], audio_root)
            else:
                tables.append(source)
        yield tables, lost


def _embed(model: str | None, data: str, out: str, audio_root: str | None) -> int:
    """Embed a data directory; return how many utterances were left out."""
    if model is None:
        raise SettingsError(
            f"`{data}` is a data directory, no embeddings", hint="give the MODEL before it"
        )
    from sv_cli.extraction.run import ExtractRun, run_extraction
    from sv_cli.extraction.settings import ExtractSettings

    run = ExtractRun(model, data, out, ExtractSettings(), audio_root=audio_root)
    outcome = run_extraction(run)
    return 0 if outcome is None else outcome.skipped
