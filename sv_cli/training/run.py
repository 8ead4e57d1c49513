"""A training run from its arguments: data, front-end and world are put together here."""

from dataclasses import dataclass
from pathlib import Path

import torch

from sv_cli import logs
from sv_cli.augment.chain import Augmenter, load_augmenter
from sv_cli.errors import SettingsError
from sv_cli.features.fbank import num_frames
from sv_cli.features.settings import FrontendSettings, find_frontend
from sv_cli.memory import keep_freed_memory
from sv_cli.models.lora import count_pairs
from sv_cli.models.registry import MODELS, find_model
from sv_cli.sampling.labels import SpeedClasses
from sv_cli.sampling.training_set import CropShape, TrainingSet, open_training_set
from sv_cli.settings.model import build_settings
from sv_cli.tables.datadir.directory import DataDir
from sv_cli.tables.pairs.trials import read_trials
from sv_cli.training.data_path import DataPath, LoaderSpeed, bench_loader
from sv_cli.training.distributed import World, join_world
from sv_cli.training.initial import check_apart, read_source, start_from
from sv_cli.training.machine import Machine
from sv_cli.training.run_files import RunFiles
from sv_cli.training.settings import TrainSettings
from sv_cli.training.trainer import RunResult, Trainer
from sv_cli.training.validation import DevSet


@dataclass(frozen=True)
class RunPaths:
    """Where a run reads and writes.

    Attributes
    ----------
    data : path of the training data directory
    exp_dir : path of the experiment directory
    dev_data, dev_trials : paths of the recordings and trials of the dev EER, or None
    audio_root : folder that relative audio paths start from, or None
    """

    data: str
    exp_dir: str
    dev_data: str | None = None
    dev_trials: str | None = None
    audio_root: str | None = None


def run_training(
    settings: TrainSettings, paths: RunPaths, *, resume: bool = False, force: bool = False
) -> RunResult:
    """Train, in this process or as one of those that torchrun started.

    Raises
    ------
    SettingsError
        When settings contradict one another or the stopped run.
    TableError, AudioError
        When the data is not as it should be.
    TrainingError
        When the loss is not finite, or another process is lost.
    """
    if settings.init.model:
        check_apart(settings.init.model, paths.exp_dir)
    frontend = choose_frontend(settings)
    torch.set_num_threads(settings.engine.num_threads)
    keep_freed_memory()
    with join_world(
        settings.engine.device, timeout_seconds=settings.engine.timeout_seconds
    ) as world:
        if not world.is_first:
            logs.silence()
        files = RunFiles(Path(paths.exp_dir))
        training_set = load_data(settings, frontend, paths)
        dev = load_dev_set(paths)
        state = files.find_state(world, resume=resume, force=force)
        trainer = Trainer(
            settings,
            frontend,
            training_set,
            dev=dev,
            files=files,
            world=world,
            augmenter=_read_augmenter(settings, frontend, paths, world),
        )
        _announce(trainer, world)
        if state is not None:
            trainer.restore(state)
        elif settings.init.model:
            source = read_source(settings.init.model)
            started = start_from(
                source, trainer.learner, training_set.speakers, head=settings.init.head
            )
            trainer.journal.say(started)
        if world.is_first:
            files.begin(settings, restart=state is None)
        return trainer.run()


def measure_data_path(settings: TrainSettings, paths: RunPaths, num_batches: int) -> LoaderSpeed:
    """Read as the run of these settings would, and return how fast that is."""
    torch.set_num_threads(1)
    data = load_data(settings, choose_frontend(settings), paths)
    world = World(0, 1, torch.device("cpu"))
    return bench_loader(DataPath(data, settings, world, augmented=True), num_batches)


def load_data(settings: TrainSettings, frontend: FrontendSettings, paths: RunPaths) -> TrainingSet:
    """Return the training set, refused where it does not go with the settings."""
    augment = settings.augment
    training_set = open_training_set(
        paths.data,
        crop_shape(settings, frontend),
        settings.data,
        audio_root=paths.audio_root,
        speeds=SpeedClasses(augment.speeds, augment.speed_classes, augment.speed_draw == "each"),
    )
    check_source(training_set, frontend)
    check_augmentation(training_set, settings)
    return training_set


def choose_frontend(settings: TrainSettings) -> FrontendSettings:
    """Return the front-end asked for, or the one that the model's project uses."""
    name = settings.frontend or MODELS[find_model(settings.model)].frontend
    values = {**find_frontend(name).model_dump(), **settings.frontend_options}
    frontend = build_settings(FrontendSettings, values, where="frontend_options")
    if frontend.kind == "waveform" and settings.augment.spec.prob > 0:
        raise SettingsError(
            "`augment.spec` masks frames and bins of features, but the network takes samples",
            hint="set `augment.spec.prob = 0`",
        )
    return frontend


def crop_shape(settings: TrainSettings, frontend: FrontendSettings) -> CropShape:
    """Return the length of a crop in samples and frames."""
    num_samples = round(settings.data.chunk_seconds * frontend.sample_rate)
    frames = num_frames(num_samples, frontend)
    if frames < 2:
        raise SettingsError(f"`data.chunk_seconds`: {settings.data.chunk_seconds} gives no frames")
    shift = frontend.frame_shift_ms / 1000.0
    return CropShape(num_samples, frames, frontend.sample_rate, shift)


def check_source(training_set: TrainingSet, frontend: FrontendSettings) -> None:
    """Refuse stored features for a network that hears samples."""
    if training_set.kind == "feats" and frontend.kind == "waveform":
        raise SettingsError(
            "the network takes the samples themselves, not the features of feats.scp",
            hint="give data with wav.scp, and leave `data.source` at auto",
        )


def check_augmentation(training_set: TrainingSet, settings: TrainSettings) -> None:
    """Refuse to augment waveforms where there are none."""
    if training_set.kind == "feats" and settings.augment.changes_waveforms:
        raise SettingsError(
            f"`augment.chain` {settings.augment.chain}: features of feats.scp can only be masked, "
            "not sped up, mixed or reverberated",
            hint="give data with wav.scp, or set `augment.prob = 0` and `augment.speeds = []`",
        )
    if training_set.kind == "feats" and settings.data.silence_threshold > 0:
        raise SettingsError(
            "`data.silence_threshold`: silence is cut out of recordings, not of feats.scp",
            hint="give data with wav.scp, or use `svtool make-vad`",
        )
    if training_set.kind == "feats" and settings.data.min_level > 0:
        raise SettingsError(
            "`data.min_level` is that of recordings, which features of feats.scp do not contain",
            hint="give data with wav.scp, or set `data.min_level = 0`",
        )


def _read_augmenter(
    settings: TrainSettings, frontend: FrontendSettings, paths: RunPaths, world: World
) -> Augmenter | None:
    return load_augmenter(
        settings.augment,
        num_samples=crop_shape(settings, frontend).num_samples,
        sample_rate=frontend.sample_rate,
        device=world.device,
        audio_root=paths.audio_root,
        sharing=Machine(world) if world.size > 1 else None,
    )


def load_dev_set(paths: RunPaths) -> DevSet | None:
    """Return the dev set; its trials default to `trials` in the dev data directory."""
    if paths.dev_data is None:
        if paths.dev_trials is not None:
            raise SettingsError("`--dev-trials` needs `--dev-data`")
        return None
    trials = paths.dev_trials or str(Path(paths.dev_data) / "trials")
    dev = DevSet(
        DataDir.load(paths.dev_data), read_trials(trials, labels="required"), paths.audio_root
    )
    dev.check(trials)
    return dev


def _announce(trainer: Trainer, world: World) -> None:
    encoder = trainer.learner.encoder
    parameters = sum(p.numel() for p in encoder.parameters())
    learning = sum(p.numel() for p in encoder.parameters() if p.requires_grad)
    share = "" if learning == parameters else f" ({learning / 1e6:.2f} M of them learn)"
    data = trainer.data
    num_speakers = int(data.labels.max()) + 1
    classes = f" ({len(data.speakers)} classes)" if len(data.speakers) > num_speakers else ""
    crops = f", {len(data.items)} crops" if len(data.items) > len(data.utts) else ""
    trainer.journal.say(
        f"{trainer.settings.model}: {parameters / 1e6:.2f} M parameters{share}; "
        f"{len(data.utts)} utterances of {num_speakers} speakers{classes}{crops}; "
        f"{trainer.data_path.steps_per_epoch} steps an epoch of "
        f"{trainer.data_path.batch_total} crops; "
        f"{trainer.learner.precision} on {world.device}"
    )
    if num_pairs := count_pairs(encoder.state_dict()):
        trainer.journal.say(
            f"LoRA pairs on {num_pairs} layers: model files hold the merged weights"
        )
    if trainer.augmenter is not None:
        trainer.journal.say(trainer.augmenter.describe())
