"""The training loop: data, step, reading, saving and validation, each readable at a glance."""

import multiprocessing
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

import torch
from torch import Tensor

from sv_cli import logs
from sv_cli.audio.speed import play
from sv_cli.augment.chain import Augmenter
from sv_cli.checkpoints.model_file import MERGED_PAIRS, ModelFile
from sv_cli.checkpoints.state import TrainingState
from sv_cli.errors import SettingsError
from sv_cli.features.frontend import Frontend
from sv_cli.features.settings import FrontendSettings
from sv_cli.losses.margin_schedule import MarginSchedule
from sv_cli.models.lora import count_pairs, without_pairs
from sv_cli.models.protocol import SpeakerEncoder
from sv_cli.models.registry import find_model
from sv_cli.sampling.dataset import Batch
from sv_cli.sampling.training_set import TrainingSet
from sv_cli.training.data_path import DataPath
from sv_cli.training.distributed import World, any_over_world, mean_over_world
from sv_cli.training.finite import LossWatch
from sv_cli.training.journal import Journal
from sv_cli.training.learner import Learner
from sv_cli.training.meter import Meter, judge, shares
from sv_cli.training.run_files import RunFiles, check_same_data, check_same_run
from sv_cli.training.schedule import LearningRate
from sv_cli.training.settings import TrainSettings
from sv_cli.training.validation import DevSet, dev_eer

# Interval in steps at which processes check whether one was asked to stop.
STEPS_BETWEEN_QUESTIONS = 4
# How long a run that was asked to stop waits for the batch of its last step.
PATIENCE_SECONDS = 5.0


@dataclass(frozen=True)
class RunResult:
    """How a run ended.

    Attributes
    ----------
    steps : int
        Steps done since the very start.
    best_eer : float or None
        Lowest dev EER in percent.
    stopped : bool
        Whether SIGTERM ended it early, with the state saved.
    """

    steps: int
    best_eer: float | None
    stopped: bool


class Trainer:
    """One run of one process.

    Parameters
    ----------
    settings : TrainSettings
    frontend : FrontendSettings
        How features are made of crops of recordings, inside the step.
    training_set : TrainingSet
    dev : DevSet or None
        Where the dev EER is measured.
    files : RunFiles
    world : World
    augmenter : Augmenter or None
        What is done to crops and features on the device.
    """

    def __init__(
        self,
        settings: TrainSettings,
        frontend: FrontendSettings,
        training_set: TrainingSet,
        *,
        dev: DevSet | None,
        files: RunFiles,
        world: World,
        augmenter: Augmenter | None = None,
    ) -> None:
        self.settings, self.frontend, self.data = settings, frontend, training_set
        self.dev, self.files, self.world, self.augmenter = dev, files, world, augmenter
        self.data_path = DataPath(training_set, settings, world, augmented=augmenter is not None)
        self.num_steps = self.data_path.steps_per_epoch * settings.num_epochs
        if self.num_steps == 0:
            raise SettingsError(
                f"`engine.accumulate` {self.data_path.accumulate}: an epoch has only "
                f"{self.data_path.plan.num_steps} batches",
                hint="lower it, or `batch_size`",
            )
        self.step = 0
        self.best_eer: float | None = None
        self._stop_asked = False  # of this process
        self._stopped = False  # by agreement of all
        self._must_close_epoch = False
        self._waits_since: float | None = None  # for a batch
        self._between_steps = False
        self.learner = Learner(settings, num_classes=len(training_set.speakers), world=world)
        check_sizes(self.learner.encoder, frontend, name=settings.model)
        self.features = Frontend(frontend).to(world.device)
        self._make_schedules()
        self.journal = Journal(
            files.folder, active=world.is_first, tensorboard=settings.engine.tensorboard
        )
        self.watch = LossWatch(training_set, files.folder / "nonfinite.txt", world)
        self.meter = Meter(world.device)

    def _make_schedules(self) -> None:
        per_epoch, loss = self.data_path.steps_per_epoch, self.settings.loss
        self.lr = LearningRate(
            self.settings.schedule, per_epoch, self.num_steps, self.data_path.batch_total
        )
        self.margin = MarginSchedule(
            initial=loss.initial_margin,
            final=loss.margin,
            start_step=round(loss.rise_start_epoch * per_epoch),
            end_step=round(loss.rise_end_epoch * per_epoch),
            shape=loss.rise,
        )

    # ---- the run ------------------------------------------------------------------------------

    def restore(self, state: TrainingState) -> None:
        """Go back to where a run of the same settings and speakers was stopped.

        Raises
        ------
        SettingsError
            When it was another run.
        """
        check_same_run(
            state, self.settings, speakers=self.data.speakers, world_size=self.world.size
        )
        steps, fingerprint = self.data_path.steps_per_epoch, self.data.fingerprint
        check_same_data(state, steps_per_epoch=steps, fingerprint=fingerprint)
        self.learner.load(state)
        self.step, self.best_eer = state.step, state.best_eer
        self._must_close_epoch = not state.epoch_is_closed
        self.journal.say(f"resuming after step {self.step} of {self.num_steps}", step=self.step)

    def run(self) -> RunResult:
        """Train to the last epoch, from the start or from the position of a restored state."""
        previous = {each: signal.signal(each, self._ask_stop) for each in _stop_signals()}
        previous[signal.SIGALRM] = signal.signal(signal.SIGALRM, self._end_waiting)
        batch_total, self._step_logged = self.data_path.batch_total, self.step
        total, done = self.num_steps * batch_total, self.step * batch_total
        try:
            with logs.progress("train", total=total, done=done) as self._progress:
                if self._must_close_epoch:
                    self._finish_epoch(self.step // self.data_path.steps_per_epoch)
                while self.step < self.num_steps and not self._stopped:
                    self._run_epoch(self.step // self.data_path.steps_per_epoch)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0.0)
            for number, handler in previous.items():
                signal.signal(number, handler)
            self.journal.close()
        if not self._stopped and self.world.is_first:
            self.files.save_final(self._model_file())
        return RunResult(self.step, self.best_eer, self._stopped)

    def _run_epoch(self, epoch: int) -> None:
        self.learner.module.train()
        engine, clock = self.settings.engine, self.meter.clock
        begun = clock.seconds()
        first = self.step - epoch * self.data_path.steps_per_epoch
        batches = iter(self.data_path.open(epoch, first_step=first))
        for _ in range(first, self.data_path.steps_per_epoch):
            try:
                self._train_step(batches)
            except _NoBatch:
                self._stop_without_batch()
                return
            at_end = self.step % self.data_path.steps_per_epoch == 0
            if at_end or self.step % engine.log_every_steps == 0:
                self._report()
            if self._must_stop(at_end=at_end):
                self._save_state(epoch_is_closed=not at_end)
                return
            if self.step % engine.save_every_steps == 0 and not at_end:
                self._save_state()
        self._tell_waiting(epoch + 1, shares(begun, clock.seconds()))
        self._finish_epoch(epoch + 1)

    def _must_stop(self, *, at_end: bool) -> bool:
        # To ask the others means to wait for the device, which is not worth it at every step.
        if self.world.size == 1 or at_end or self.step % STEPS_BETWEEN_QUESTIONS == 0:
            self._stopped = any_over_world(self._stop_asked, self.world)
        return self._stopped

    # ---- one step -----------------------------------------------------------------------------

    def _train_step(self, batches: Iterator[Batch]) -> None:
        """Take one step over as many batches as are to be accumulated."""
        accumulate, clock = self.data_path.accumulate, self.meter.clock
        margin, lr = self.margin.value(self.step), self.lr.value(self.step)
        self.learner.module.head.margin = margin
        for part in range(accumulate):
            clock.enter("data")
            batch = self._next_batch(batches, is_first=part == 0)
            # Everything random inside belongs to (seed, batch, rank): resuming is exact.
            number = self.step * accumulate + part
            torch.manual_seed((self.settings.seed * 1_000_003 + number) * 1009 + self.world.rank)
            clock.enter("features")
            feats = self._make_features(batch)
            labels = batch.labels.to(self.world.device, non_blocking=True)
            clock.enter("network")
            loss, correct = self.learner.backward(feats, labels, is_last=part == accumulate - 1)
            self.watch.remember(self.step + 1, batch.items, loss)
            self.meter.add(loss, correct)
        self.learner.update(self.step, lr=lr)
        clock.enter("other")
        self.step += 1

    def _next_batch(self, batches: Iterator[Batch], *, is_first: bool) -> Batch:
        """Return the next batch; `is_first` says that no part of the step was computed yet."""
        self._between_steps = is_first
        with self._reading():
            return next(batches)

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """Let a block that reads recordings raise `_NoBatch` when it hangs after SIGTERM."""
        self._waits_since = time.monotonic()
        try:
            yield
        finally:
            self._waits_since = None

    def _stop_without_batch(self) -> None:
        """End a run whose readers hang; save where nothing of the next step was computed."""
        for reader in multiprocessing.active_children():
            reader.terminate()
        self._stopped = True
        if self._between_steps and self.world.size == 1:
            self._save_state()
        logs.warn(f"stopped while no data came: a reader waited longer than {PATIENCE_SECONDS:g} s")

    @torch.no_grad()
    def _make_features(self, batch: Batch) -> Tensor:
        num_samples = self.data.shape.num_samples
        signals = batch.signals.to(self.world.device, non_blocking=True)
        augmenter = self.augmenter
        draws = augmenter.draw(batch.chances) if augmenter is not None else None
        features: Tensor
        if self.data.kind == "feats":
            features = self.features.normalize(signals)
        else:
            signals = play(signals, batch.speeds, self.data.speeds.played, num_samples)
            if augmenter is not None and draws is not None:
                signals = augmenter.waveforms(signals, draws)
            features = self.features(signals)
        if augmenter is not None and draws is not None:
            features = augmenter.features(features, draws)
        return features

    # ---- reporting and saving -----------------------------------------------------------------

    def _report(self) -> None:
        self.watch.look()
        sums = mean_over_world(self.meter.sums(), self.world)
        reading = self.meter.read(sums, world_size=self.world.size)
        epoch = self.step / self.data_path.steps_per_epoch
        self.journal.write(
            "step",
            step=self.step,
            epoch=round(epoch, 3),
            lr=self.lr.value(self.step - 1),
            margin=float(self.learner.module.head.margin),
            **vars(reading),
        )
        done, self._step_logged = self.step - self._step_logged, self.step
        self._progress.advance(
            done * self.data_path.batch_total,
            epoch=f"{epoch:.1f}/{self.settings.num_epochs}",
            loss=f"{reading.loss:.3f}",
            acc=f"{reading.accuracy:.1f}%",
            wait=f"{reading.wait_share:.0f}%",
        )

    def _tell_waiting(self, epoch: int, share: dict[str, float]) -> None:
        verdict = judge(share, self.data_path.reading)
        self.journal.write("waiting", step=self.step, epoch=epoch, **share, verdict=verdict)
        self.journal.say(f"epoch {epoch}/{self.settings.num_epochs}: {verdict}", epoch=epoch)

    def _finish_epoch(self, epoch: int) -> None:
        self.watch.look(self.learner.module.parameters())
        due = epoch % self.settings.engine.validate_every_epochs == 0
        last = epoch == self.settings.num_epochs
        if self.dev is not None and (due or last):
            self._save_state(epoch_is_closed=False)  # before the dev data is read, which may fail
            self._validate(epoch, self.dev)
            if self._stopped:
                return
        if self.world.is_first:
            keep = self.settings.engine.keep_last
            self.files.save_epoch(self._model_file(), epoch=epoch, keep_last=keep)
        self._save_state()

    def _validate(self, epoch: int, dev: DevSet) -> None:
        network, asked = self.learner.result, lambda: self._stop_asked
        try:
            with self._reading():
                eer = dev_eer(network, self.frontend, dev, self.world, must_stop=asked)
        except _NoBatch:
            eer = None
        if eer is None:
            self._stopped = True
            return
        better = self.best_eer is None or eer < self.best_eer
        if better:
            self.best_eer = eer
            if self.world.is_first:
                self.files.save_best(self._model_file(dev_eer=eer))
        self.journal.write("validation", step=self.step, epoch=epoch, dev_eer=eer)
        self.journal.say(
            f"epoch {epoch}/{self.settings.num_epochs}: dev EER {eer:.3f} %"
            + (" (best so far)" if better else ""),
            epoch=epoch,
            dev_eer=eer,
        )

    def _save_state(self, *, epoch_is_closed: bool = True) -> None:
        self.watch.look(self.learner.module.parameters())
        if self.world.is_first:
            state = self.learner.state(
                step=self.step, speakers=self.data.speakers, best_eer=self.best_eer
            )
            state.epoch_is_closed = epoch_is_closed
            state.steps_per_epoch, state.data = (
                self.data_path.steps_per_epoch,
                self.data.fingerprint,
            )
            self.files.save_state(state)

    def _model_file(self, **notes: float) -> ModelFile:
        weights, head = (
            {key: v.detach().cpu().contiguous().clone() for key, v in module.state_dict().items()}
            for module in (self.learner.result, self.learner.module.head)
        )
        fields = {"step": self.step, "epoch": self.step / self.data_path.steps_per_epoch, **notes}
        if num_pairs := count_pairs(weights):
            fields[MERGED_PAIRS] = num_pairs
        options, weights = without_pairs(self.settings.model_options, weights)
        return ModelFile(
            model=find_model(self.settings.model),
            options=options,
            frontend=self.frontend,
            weights=weights,
            speakers=self.data.speakers,
            head=head,
            notes=fields,
        )

    def _ask_stop(self, signum: int, frame: FrameType | None) -> None:
        self._stop_asked = True
        signal.setitimer(signal.ITIMER_REAL, 1.0, 1.0)

    def _end_waiting(self, signum: int, frame: FrameType | None) -> None:
        since = self._waits_since
        if since is not None and time.monotonic() - since > PATIENCE_SECONDS:
            raise _NoBatch


class _NoBatch(Exception):
    """No batch came within `PATIENCE_SECONDS` after the run was asked to stop."""


def _stop_signals() -> list[signal.Signals]:
    """Return the signals that end a run with its state saved; nohup ignores SIGHUP."""
    ignored = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    return [signal.SIGTERM] if ignored else [signal.SIGTERM, signal.SIGHUP]


def check_sizes(encoder: SpeakerEncoder, frontend: FrontendSettings, *, name: str) -> None:
    """Refuse a front-end that does not give what the network takes.

    Raises
    ------
    SettingsError
        Names both sizes.
    """
    if encoder.feat_dim != frontend.feat_dim:
        raise SettingsError(
            f"`{name}` takes {encoder.feat_dim} features a frame, the front-end "
            f"gives {frontend.feat_dim}",
            hint="change `model_options.feat_dim` or `frontend_options.num_mel_bins`",
        )
