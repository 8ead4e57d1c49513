"""The training loop: data, step, reading, saving and validation, each readable at a glance."""

import signal
from dataclasses import dataclass
from types import FrameType

import torch
from torch import Tensor

from sv_cli import logs
from sv_cli.audio.speed import play
from sv_cli.augment.chain import Augmenter
from sv_cli.augment.draw import NUM_CHANCES
from sv_cli.checkpoints.model_file import ModelFile, load_weights
from sv_cli.checkpoints.state import TrainingState
from sv_cli.errors import SettingsError, TrainingError
from sv_cli.features.frontend import Frontend
from sv_cli.features.settings import FrontendSettings
from sv_cli.losses.margin_schedule import MarginSchedule
from sv_cli.models.registry import build_model, find_model
from sv_cli.sampling.dataset import Batch, EpochBatches
from sv_cli.sampling.loader import TimedLoader, choose_num_workers, load_batches
from sv_cli.sampling.plan import EpochPlan
from sv_cli.sampling.training_set import TrainingSet
from sv_cli.training.distributed import World, any_over_world, mean_over_world, wrap
from sv_cli.training.journal import Journal
from sv_cli.training.meter import Meter, Reading
from sv_cli.training.network import Classifier, make_head
from sv_cli.training.optim import make_optimizer, set_learning_rate
from sv_cli.training.precision import autocast, choose_precision
from sv_cli.training.run_files import RunFiles, check_same_run
from sv_cli.training.schedule import learning_rate
from sv_cli.training.settings import TrainSettings
from sv_cli.training.validation import DevSet, dev_eer


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
        self.augmenter = augmenter
        self.settings, self.frontend, self.data = settings, frontend, training_set
        self.dev, self.files, self.world = dev, files, world
        self.plan = EpochPlan(
            len(training_set.utts), settings.batch_size, world.size, settings.seed
        )
        self.num_steps = self.plan.num_steps * settings.num_epochs
        self.precision = choose_precision(settings.engine.precision, world.device)
        self.step, self._waited = 0, 0.0
        self.best_eer: float | None = None
        self._stop_asked = False
        self._build()
        self.journal = Journal(files.folder, active=world.is_first)
        self.meter = Meter(world.device)

    def _build(self) -> None:
        settings, device = self.settings, self.world.device
        torch.manual_seed(settings.seed)
        self.encoder = build_model(settings.model, **settings.model_options)
        if self.encoder.feat_dim != self.frontend.feat_dim:
            raise SettingsError(
                f"`{settings.model}` takes {self.encoder.feat_dim} features a frame, the front-end "
                f"gives {self.frontend.feat_dim}",
                hint="change `model_options.feat_dim` or `frontend_options.num_mel_bins`",
            )
        head = make_head(
            settings.loss,
            embedding_dim=self.encoder.embedding_dim,
            num_classes=len(self.data.speakers),
        )
        self.module = Classifier(self.encoder, head).to(device)
        if self.precision == "bf16":
            self.module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.network = wrap(self.module, self.world)
        self.features = Frontend(self.frontend).to(device)
        self.optimizer = make_optimizer(self.module, settings.optim, lr=settings.schedule.lr)
        self.margin = MarginSchedule(
            initial=settings.loss.initial_margin,
            final=settings.loss.margin,
            start_step=round(settings.loss.rise_start_epoch * self.plan.num_steps),
            end_step=round(settings.loss.rise_end_epoch * self.plan.num_steps),
            shape=settings.loss.rise,
        )

    # ---- the run ------------------------------------------------------------------------------

    def run(self, state: TrainingState | None = None) -> RunResult:
        """Train from the start or from a saved state to the last epoch."""
        if state is not None:
            self._restore(state)
        previous = signal.signal(signal.SIGTERM, self._ask_stop)
        total = self.num_steps * self.plan.batch_size * self.world.size
        try:
            with logs.progress("train", total=total) as progress:
                self._progress = progress
                progress.advance(self.step * self.plan.batch_size * self.world.size)
                while self.step < self.num_steps and not self._stop_asked:
                    self._run_epoch(self.step // self.plan.num_steps)
        finally:
            signal.signal(signal.SIGTERM, previous)
        if not self._stop_asked and self.world.is_first:
            self.files.save_final(self._model_file())
        return RunResult(self.step, self.best_eer, self._stop_asked)

    def _run_epoch(self, epoch: int) -> None:
        self.module.train()
        loader = self._load(epoch)
        waited_before = self._waited
        for batch in loader:
            self._train_step(batch)
            self._waited = waited_before + loader.wait_seconds
            if self.step % self.settings.engine.log_every_steps == 0:
                self._report()
            if any_over_world(self._stop_asked, self.world):
                self._stop_asked = True
                self._save_state()
                return
            at_end = self.step % self.plan.num_steps == 0
            if self.step % self.settings.engine.save_every_steps == 0 and not at_end:
                self._save_state()
        self._finish_epoch(epoch + 1)

    def _load(self, epoch: int) -> TimedLoader:
        batches = EpochBatches(
            self.data.crops,
            self.data.labels,
            self.plan,
            epoch=epoch,
            rank=self.world.rank,
            speeds=self.data.speeds,
            num_chances=NUM_CHANCES if self.augmenter is not None else 0,
        )
        return load_batches(
            batches,
            first_step=self.step - epoch * self.plan.num_steps,
            num_workers=choose_num_workers(
                self.settings.data.num_workers, world_size=self.world.size
            ),
            pin_memory=self.world.device.type == "cuda",
        )

    # ---- one step -----------------------------------------------------------------------------

    def _train_step(self, batch: Batch) -> None:
        settings, device = self.settings, self.world.device
        lr = learning_rate(
            self.step,
            settings.schedule,
            steps_per_epoch=self.plan.num_steps,
            num_steps=self.num_steps,
        )
        set_learning_rate(self.optimizer, lr)
        self.module.head.margin = self.margin.value(self.step)
        # Everything random inside the step belongs to (seed, step, rank): resuming is exact.
        torch.manual_seed((settings.seed * 1_000_003 + self.step) * 1009 + self.world.rank)
        feats = self._make_features(batch)
        labels = batch.labels.to(device, non_blocking=True)
        with autocast(self.precision, device):
            loss, cosines = self.network(feats, labels)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if settings.optim.clip_norm > 0:
            torch.nn.utils.clip_grad_norm_(self.module.parameters(), settings.optim.clip_norm)
        self.optimizer.step()
        self.step += 1
        self.lr = lr
        self.meter.add(loss, cosines, labels)

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

    # ---- what is told and kept ----------------------------------------------------------------

    def _report(self) -> Reading:
        sums = mean_over_world(self.meter.sums(), self.world)
        reading = self.meter.read(sums, world_size=self.world.size, waited=self._waited)
        if not torch.isfinite(torch.tensor(reading.loss)):
            raise TrainingError(
                f"loss is {reading.loss} near step {self.step}",
                hint="lower the learning rate, or look for broken features; "
                "`--resume` goes on from the last saved state",
            )
        epoch = self.step / self.plan.num_steps
        self.journal.write(
            "step",
            step=self.step,
            epoch=round(epoch, 3),
            lr=self.lr,
            margin=float(self.module.head.margin),
            **vars(reading),
        )
        self._progress.advance(
            self.settings.engine.log_every_steps * self.plan.batch_size * self.world.size,
            epoch=f"{epoch:.1f}/{self.settings.num_epochs}",
            loss=f"{reading.loss:.3f}",
            acc=f"{reading.accuracy:.1f}%",
            wait=f"{reading.wait_share:.0f}%",
        )
        return reading

    def _finish_epoch(self, epoch: int) -> None:
        due = epoch % self.settings.engine.validate_every_epochs == 0
        last = epoch == self.settings.num_epochs
        if self.dev is not None and (due or last):
            self._validate(epoch, self.dev)
        if self.world.is_first:
            keep = self.settings.engine.keep_last
            self.files.save_epoch(self._model_file(), epoch=epoch, keep_last=keep)
        self._save_state()

    def _validate(self, epoch: int, dev: DevSet) -> None:
        eer = dev_eer(self.encoder, self.frontend, dev, self.world)
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

    def _save_state(self) -> None:
        if not self.world.is_first:
            return
        self.files.save_state(
            TrainingState(
                step=self.step,
                encoder=self.encoder.state_dict(),
                head=self.module.head.state_dict(),
                optimizer=self.optimizer.state_dict(),
                settings=self.settings.model_dump(mode="json"),
                speakers=self.data.speakers,
                best_eer=self.best_eer,
                world_size=self.world.size,
            )
        )

    def _restore(self, state: TrainingState) -> None:
        check_same_run(
            state,
            self.settings.model_dump(mode="json"),
            speakers=self.data.speakers,
            world_size=self.world.size,
        )
        load_weights(self.encoder, state.encoder, what="training state")
        load_weights(self.module.head, state.head, what="training state, classes")
        self.optimizer.load_state_dict(state.optimizer)
        self.step, self.best_eer = state.step, state.best_eer
        self.journal.say(f"resuming after step {self.step} of {self.num_steps}", step=self.step)

    def _model_file(self, **notes: float) -> ModelFile:
        weights = {
            key: value.detach().cpu().contiguous().clone()
            for key, value in self.encoder.state_dict().items()
        }
        return ModelFile(
            model=find_model(self.settings.model),
            options=self.settings.model_options,
            frontend=self.frontend,
            weights=weights,
            speakers=self.data.speakers,
            notes={"step": self.step, "epoch": self.step / self.plan.num_steps, **notes},
        )

    def _ask_stop(self, signum: int, frame: FrameType | None) -> None:
        self._stop_asked = True
