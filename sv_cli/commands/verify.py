"""`svtool verify`."""

from pathlib import Path
from typing import Annotated

import typer

from sv_cli import logs


def verify(
    model: Annotated[str, typer.Argument(help="Model, ONNX file or hub:NAME.")],
    enroll: Annotated[Path, typer.Argument(help="Recording of the known speaker.")],
    test: Annotated[Path, typer.Argument(help="Recording of the speaker in question.")],
    threshold: Annotated[
        str | None,
        typer.Option(
            metavar="NUMBER|FILE",
            help="Same speaker at or above it: a number, or what `calibrate threshold` wrote"
            " [default: as published with the model].",
            show_default=False,
        ),
    ] = None,
    calibration: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="What `calibrate train` wrote: the score becomes a log-likelihood ratio.",
        ),
    ] = None,
    p_target: Annotated[
        float,
        typer.Option(min=0.001, max=0.999, help="Prior of the same speaker, with `--calibration`."),
    ] = 0.5,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "cpu",
) -> None:
    r"""Decide whether two recordings are of the same speaker.

    Writes one line, `enroll test score`, followed by `same` or `different` where a threshold is
    known. The score is the cosine of `svtool score`; with `--calibration` it is the logarithm (in
    nats) of how much better the same speaker explains it, compared with the prior. A recording
    without a usable signal (silence, a constant, too quiet, too short, clipped) is an error.

    \b
    Examples:
      $ svtool verify exp/eres2net recordings/d0001/d0001-000.wav recordings/d0001/d0001-001.wav
      $ svtool calibrate train data/dev/trials scores/dev.cosine out/calibration.json
      $ ls recordings/*/*-000.wav | sed 2q | xargs svtool verify exp/eres2net --threshold 0.5
      $ svtool verify exp/eres2net recordings/d0001/d0001-000.wav recordings/d0002/d0002-000.wav \
          --calibration out/calibration.json

    \b
    See also: identify, score, calibrate threshold
    """
    from sv_cli.extraction.api import load_model
    from sv_cli.extraction.verification import verify as decide

    verdict = decide(
        load_model(model, device=device), enroll, test,
        threshold=threshold, calibration=calibration, p_target=p_target,
    )  # fmt: skip
    decision = {True: " same", False: " different", None: ""}[verdict.same]
    logs.data(f"{enroll} {test} {verdict.score:.9g}{decision}\n")
    logs.summary("scored 1 pair", done=1, skipped=0)
