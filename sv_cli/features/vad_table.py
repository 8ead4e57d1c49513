"""VAD decisions of a table of features, as Kaldi's compute-vad reads them."""

from contextlib import nullcontext

import torch

from sv_cli import logs
from sv_cli.atomic import is_plain_file, refuse_overwrite
from sv_cli.errors import SvError, TableError
from sv_cli.features.making import Made
from sv_cli.features.settings import VadSettings
from sv_cli.features.vad import energy_vad
from sv_cli.lock import lock_file
from sv_cli.tables.kaldi.arrays import ArrayWriter, iterate_arrays
from sv_cli.tables.kaldi.specifier import WriteSpec
from sv_cli.tables.lineage import Lineage, Step, describe_inputs, read_lineage, write_lineage


def decide_from_features(
    rspecifier: str, spec: WriteSpec, settings: VadSettings, *, force: bool
) -> Made:
    """Write a vector of 0 and 1 for each matrix, whose first column is the log energy.

    Raises
    ------
    SvError
        When outputs exist already, or no matrix holds a frame.
    """
    files = list(filter(is_plain_file, spec.files))
    with lock_file(files[0], command="make-vad") if files else nullcontext():
        refuse_overwrite(*files, force=force)
        return _decide(rspecifier, spec, settings)


def _decide(rspecifier: str, spec: WriteSpec, settings: VadSettings) -> Made:
    frames: dict[str, int] = {}
    skipped = 0
    lineage = read_lineage(rspecifier, wanted="feats.scp")
    if lineage.command == "make-fbank" and not lineage.steps[-1].values["use_energy"]:
        raise TableError(
            f"`{rspecifier}`: the first column is not the log energy",
            hint="make the features with `--use-energy`, or decide from recordings",
        )
    features = iterate_arrays(rspecifier, wanted="feats.scp")
    with ArrayWriter(spec.source, wanted="vad") as writer:
        for utt, array in features:
            if array.ndim != 2 or len(array) == 0:
                logs.warn(f"skipped `{utt}`: no matrix with frames")
                skipped += 1
                continue
            energy = torch.from_numpy(array[:, 0].copy())
            writer.write(utt, energy_vad(energy, settings).float().numpy())
            frames[utt] = len(array)
        if not frames:
            raise SvError(f"`{rspecifier}` holds no features")
    step = Step("make-vad", settings.model_dump(mode="json"))
    inputs = describe_inputs(features=rspecifier)
    write_lineage([spec.ark, spec.scp], Lineage("vad", None, (step,), inputs))
    return Made("", frames, skipped + features.skipped)
