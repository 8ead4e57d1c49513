"""`svtool import`."""

from pathlib import Path
from typing import Annotated

import typer

from sv_cli import logs
from sv_cli.commands.skipping import Force
from sv_cli.errors import ExitStatus, SettingsError
from sv_cli.lock import claim_outputs

Weights = Annotated[
    str | None,
    typer.Argument(help="File or directory of another project, or hub:NAME.", show_default=False),
]
Out = Annotated[
    Path | None, typer.Argument(help="Model file or directory to write.", show_default=False)
]


def import_weights(
    weights: Weights = None,
    out: Out = None,
    project: Annotated[
        str | None,
        typer.Option(
            help="Where the weights come from: wespeaker, 3dspeaker, speaker-net, taoruijie,"
            " speechbrain, redimnet, wavlm or w2v-bert [default: detected].",
            show_default=False,
        ),
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Network [default: detected].", show_default=False)
    ] = None,
    frontend: Annotated[
        str | None, typer.Option(help="Front-end [default: the project's].", show_default=False)
    ] = None,
    spk2id: Annotated[
        str | None,
        typer.Option(
            "--spk2id",
            help="Speakers and their class numbers, as text or JSON: names the classes.",
            show_default=False,
        ),
    ] = None,
    subcenters: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Rows a class of the classifier [default: from config.yaml or --spk2id].",
            show_default=False,
        ),
    ] = None,
    list_: Annotated[
        bool,
        typer.Option("--list", help="Name the published weights.", show_envvar=False),
    ] = False,
    force: Force = False,
) -> None:
    r"""Turn weights that another project published into a model, such as `avg_model.pt`.

    Project, network, sizes and pooling are found from keys and shapes. `hub:NAME` fetches weights
    by their published name; `--list` names them, with project, network, address and revision.
    A bare WavLM or w2v-BERT becomes a model whose embedding is the mean over time and layers.
    The classifier head is kept for fine-tuning (`train --init OUT`): WeSpeaker's `projection`,
    speaker-net's and TaoRuijie's, and `classifier.ckpt` next to `embedding_model.ckpt`.

    \b
    Examples:
      $ svtool import wespeaker/avg_model.pt out/resnet18.pt
      $ svtool import wespeaker out/wespeaker.pt --project wespeaker
      $ svtool import --list | grep campplus | cut -f 1

    \b
    See also: models, extract, train
    """
    if list_:
        _list()
        raise typer.Exit(ExitStatus.DONE)
    if weights is None or out is None:
        raise SettingsError("needs WEIGHTS and OUT", hint="or `--list`")
    target = out / "final.pt" if out.is_dir() else out
    claim_outputs(target, force=force)
    from sv_cli.checkpoints.foreign.classifier import ClassNames
    from sv_cli.checkpoints.foreign.conversion import Wanted, import_to

    wanted = Wanted(project, model, frontend, ClassNames(spk2id, subcenters))
    logs.summary(import_to(weights, target, wanted), done=1, skipped=0)


def _list() -> None:
    """Write the published weights: name, project, network, address, revision."""
    from sv_cli.checkpoints.hub import PUBLISHED

    lines = (
        (row.name, row.project, row.model, row.url(row.files[0]), row.revision)
        for row in PUBLISHED.values()
    )
    logs.data("".join("\t".join(line) + "\n" for line in lines))
