"""The dev EER during training: cosine of embeddings of whole utterances, as `score` computes it."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sv_cli.backend.center import normalize_length
from sv_cli.backend.cosine import dot_pairs
from sv_cli.errors import TableError, name_some
from sv_cli.extraction.extractor import Extractor
from sv_cli.extraction.settings import ExtractSettings
from sv_cli.features.settings import FrontendSettings
from sv_cli.metrics.eer import eer
from sv_cli.metrics.sweep import error_rates
from sv_cli.models.protocol import SpeakerEncoder
from sv_cli.tables.datadir.directory import DataDir, Utterance
from sv_cli.tables.pairs.trials import Trials
from sv_cli.training.distributed import World, gather_objects, share_buffers


@dataclass(frozen=True)
class DevSet:
    """Recordings and trials that a run is validated on."""

    data: DataDir
    trials: Trials
    audio_root: str | None = None

    def utterances(self) -> list[Utterance]:
        """Return the utterances that the trials name.

        Raises
        ------
        TableError
            When the data directory lacks some of them.
        """
        wanted = {*self.trials.enroll_ids, *self.trials.test_ids}
        found = [utterance for utterance in self.data.recordings() if utterance.utt in wanted]
        missing = sorted(wanted - {utterance.utt for utterance in found})
        if missing:
            raise TableError(
                f"dev trials name {len(missing)} utterances that are not in `{self.data.path}`: "
                f"{name_some(missing)}"
            )
        return found

    def check(self, source: str) -> None:
        """Refuse what the first validation would stumble over, before hours of training.

        Raises
        ------
        TableError
            When the data lacks utterances, or the trials of `source` are all of one kind.
        """
        self.utterances()
        target = self.trials.target
        if target is None or target.all() or not target.any():
            raise TableError(f"`{source}`: the dev EER needs trials of both kinds, target and not")


def dev_eer(
    encoder: SpeakerEncoder,
    frontend: FrontendSettings,
    dev: DevSet,
    world: World,
    *,
    must_stop: Callable[[], bool] = lambda: False,
) -> float | None:
    """Return the EER in percent; the processes share the extraction.

    None when `must_stop`, which is asked between utterances, was true in one of them.
    """
    target = dev.trials.target
    if target is None:
        raise TableError("the dev EER needs trials with labels")
    share_buffers(encoder, world)
    share = dev.utterances()[world.rank :: world.size]
    extractor = Extractor(encoder, frontend, ExtractSettings())
    own: dict[str, NDArray[np.float32]] = {}
    stopped = False
    for utt, embedding in extractor.extract(share, audio_root=dev.audio_root):
        stopped = must_stop()
        if stopped:
            break
        own[utt] = embedding
    embeddings: dict[str, NDArray[np.float32]] = {}
    for part in gather_objects(None if stopped else own, world):
        if part is None:
            return None
        embeddings.update(part)
    trials = dev.trials
    enroll = _unit_rows(embeddings, trials.enroll_ids)
    test = _unit_rows(embeddings, trials.test_ids)
    scores = dot_pairs(enroll, test, enroll_rows=trials.enroll, test_rows=trials.test)
    return 100.0 * eer(error_rates(scores, target))[0]


def _unit_rows(embeddings: dict[str, NDArray[np.float32]], utts: list[str]) -> NDArray[np.float32]:
    return normalize_length(np.stack([embeddings[utt] for utt in utts]), utts)
