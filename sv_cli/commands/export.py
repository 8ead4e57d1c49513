"""`svtool export`."""

from pathlib import Path
from typing import Annotated

import typer

from sv_cli import logs
from sv_cli.commands.skipping import Force
from sv_cli.lock import claim_outputs


def export(
    model: Annotated[str, typer.Argument(help="Model file, directory or DIR:best.")],
    out: Annotated[Path, typer.Argument(help="ONNX file to write.")],
    parity: Annotated[
        list[str] | None,
        typer.Option(
            metavar="AUDIO",
            help="Recording to compare on, may be repeated [default: seeded noise].",
            show_default=False,
        ),
    ] = None,
    tolerance: Annotated[
        float,
        typer.Option(min=0, help="Largest difference to the model, of its largest value."),
    ] = 1e-4,
    force: Force = False,
) -> None:
    r"""Write a model as one ONNX graph from waveform to embedding.

    Input `waveform` (batch, samples), float32 in [-1, 1] at the model's rate; output `embedding`
    (batch, dim). onnxruntime must give the model's embeddings, else nothing is written.

    \b
    Examples:
      $ svtool export exp/eres2net out/eres2net.onnx
      $ ls recordings/*/* | sed 's/^/--parity /;3q' | xargs svtool export exp/eres2net out/b.onnx

    \b
    See also: import, average, extract
    """
    claim_outputs(out, force=force)
    from sv_cli.checkpoints.export import export_onnx

    done = export_onnx(model, out, audio=parity or (), tolerance=tolerance)
    logs.summary(
        f"wrote `{out}`, {done.num_bytes / 1e6:.1f} MB: differs from the model by at most"
        f" {done.difference:.2g} (tolerance {tolerance:g})",
        done=1,
        skipped=0,
    )
