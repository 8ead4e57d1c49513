"""Extraction and scoring of what is new, batch by batch, each committed before the next."""

from collections.abc import Generator, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np

from sv_cli import logs
from sv_cli.checkpoints.model_file import LoadedModel, load_model
from sv_cli.errors import SvError
from sv_cli.extraction.crops import describe_embeddings
from sv_cli.extraction.device import choose_device
from sv_cli.extraction.extractor import NUM_SAMPLES_TRIED, Extractor
from sv_cli.extraction.job import ExtractJob, Part, make_parts
from sv_cli.extraction.precision import Form
from sv_cli.nightly.incoming import Incoming, form_of
from sv_cli.nightly.scoring import Scorer, read_pairs
from sv_cli.nightly.settings import JobSettings
from sv_cli.nightly.state import Failure, JobState
from sv_cli.nightly.tally import Tally
from sv_cli.tables.embeddings import EmbeddingTable, ModelInfo, write_embeddings
from sv_cli.tables.lineage import embed


class Batches:
    """Extraction and scoring of what is new, some recordings at a time."""

    def __init__(self, settings: JobSettings, state: JobState, tally: Tally) -> None:
        self.settings, self.state, self.tally = settings, state, tally

    def score(self, new: Sequence[Incoming]) -> None:
        """Score and append, batch by batch."""
        settings = self.settings
        loaded = load_model(settings.model)
        info = describe_embeddings(loaded.info, settings.extract)
        scorer = Scorer(settings, info)
        pairs = read_pairs(settings.trials, scorer.enroll.ids)
        if pairs is not None:
            self.tally.not_in_trials = sum(each.key not in pairs for each in new)
            new = [each for each in new if each.key in pairs]
        if not new:
            return
        size = settings.commit_every
        batches = [new[start : start + size] for start in range(0, len(new), size)]
        with (
            closing(self._extract(loaded, batches, scorer)) as parts,
            logs.progress("recordings", total=len(new)) as progress,
        ):
            for batch, part in zip(batches, parts, strict=True):
                self._commit(batch, part, scorer, pairs, info)
                progress.advance(len(batch))

    def _extract(
        self, loaded: LoadedModel, batches: Sequence[Sequence[Incoming]], scorer: Scorer
    ) -> Generator[Part, None, None]:
        settings = self.settings
        device = choose_device(settings.device)
        encoder = loaded.encoder.to(device)
        extractor = Extractor(encoder, loaded.frontend, settings.extract, device=device)
        form = self._form(extractor, scorer, batches[0])
        extractor = Extractor(encoder, loaded.frontend, settings.extract, device=device, form=form)
        job = ExtractJob(
            str(loaded.path), loaded.info.model_hash, settings.extract, form, settings.device,
            settings.audio_root,
        )  # fmt: skip
        lists = [[each.utterance for each in batch] for batch in batches]
        return make_parts(job, lists, None, extractor=extractor, num_procs=settings.num_procs)

    def _form(self, extractor: Extractor, scorer: Scorer, first: Sequence[Incoming]) -> Form:
        """Return the precision that the first run of the job settled on."""
        items = extractor.read_utterances(
            [each.utterance for each in first[:NUM_SAMPLES_TRIED]],
            audio_root=self.settings.audio_root,
        )
        form = extractor.settle(extractor.usable_features(items, is_feats=False))
        values = {
            "lineage": embed(scorer.lineage),
            "enroll_spk2utt": self.settings.enroll_spk2utt,
            "extract": self.settings.extract.identity(),
            "form": [form.precision, form.fused],
        }
        noted = self.state.check_identity(values)["form"]
        return Form(noted[0], noted[1])

    def _commit(
        self,
        batch: Sequence[Incoming],
        part: Part,
        scorer: Scorer,
        pairs: dict[str, list[str]] | None,
        info: ModelInfo,
    ) -> None:
        rows, done = bytearray(), {}
        for each in batch:
            if form_of(each.utterance, self.settings.audio_root) != each.form:
                self.tally.waiting += 1  # it was written to while it was read
                continue
            embedding = part.embeddings.get(each.key)
            against = None if pairs is None else pairs[each.key]
            try:
                if embedding is None:
                    raise SvError(part.skipped[each.key])
                rows += scorer.rows(each.key, embedding, against)
            except SvError as error:
                self._fail(each, error.message)
            else:
                done[each.key] = each.form
                self.state.failures.pop(each.key, None)
        if done:
            matrix = np.stack([part.embeddings[key] for key in done])
            name = f"embeddings/batch-{self.state.num_batches + 1:06d}.scp"
            table = EmbeddingTable(list(done), matrix, info)
            write_embeddings(str(Path(self.settings.out) / name), table)
            self.state.commit(done, bytes(rows))
            self.tally.scored += len(done)
            self.tally.rows += rows.count(b"\n")
        self.state.write_notes()

    def _fail(self, each: Incoming, reason: str) -> None:
        before = self.state.failures.get(each.key)
        attempts = (before.attempts if before else 0) + 1
        self.state.failures[each.key] = Failure(attempts, each.form, reason)
        self.tally.failed[each.key] = reason
        left = self.settings.max_attempts - attempts
        then = f"{left} more attempts" if left > 0 else "given up"
        logs.warn(f"skipped `{each.key}`: {reason}; {then}")
