"""What a run keeps in its experiment directory, and what `--resume` may start from."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sv_cli import logs
from sv_cli.checkpoints.model_file import ModelFile, save_model
from sv_cli.checkpoints.state import TrainingState, load_state, save_state
from sv_cli.errors import SettingsError, TrainingError, name_some
from sv_cli.settings.model import build_settings
from sv_cli.settings.toml import flatten, write_settings
from sv_cli.training.distributed import World, gather_objects
from sv_cli.training.settings import TrainSettings

STATE = "state.pt"
LOGS = ("train.log", "log.jsonl", "nonfinite.txt", "report.png", "tensorboard/events.*")
# Settings that may change between a stop and the resumption: they do not touch the result.
FREE = (
    "engine.log_every_steps",
    "engine.save_every_steps",
    "engine.keep_last",
    "engine.timeout_seconds",
    "engine.tensorboard",
    "data.num_workers",
)


@dataclass(frozen=True)
class RunFiles:
    """The experiment directory.

    `state.pt` is the full state; `epoch-NNN.pt` the models of the last epochs, `best.pt` the one
    with the lowest dev EER, `final.pt` the last; `settings.toml`, `train.log` and `log.jsonl` hold
    what was done.
    """

    folder: Path

    @property
    def state(self) -> Path:
        """The file of the full state."""
        return self.folder / STATE

    def find_state(self, world: World, *, resume: bool, force: bool) -> TrainingState | None:
        """Return the state to go on from, or None for a fresh start; nothing is changed yet.

        Raises
        ------
        TrainingError
            When it holds an earlier run and neither `--resume` nor `--force` was given, when
            only its models are left, or when the processes see different disks.
        """
        state = load_state(self.state) if resume and self.state.is_file() else None
        # All have read before the first may write.
        steps = gather_objects(None if state is None else state.step, world)
        if len(set(steps)) > 1:
            raise TrainingError(
                f"`{self.state}` is not the same for all processes",
                hint="`--exp-dir` must lie on a disk that all machines see",
            )
        if state is not None or force or not world.is_first:
            return state
        if not resume and any(self._of_a_run()):
            raise TrainingError(
                f"`{self.folder}` holds an earlier run",
                hint="continue with `--resume`, or start again with `--force`",
            )
        if models := [path.name for path in self._of_a_run() if path.suffix == ".pt"]:
            raise TrainingError(
                f"`{self.folder}` holds {name_some(models, limit=2)}, but no `{STATE}` to go on "
                "from",
                hint="start from the model in another directory with `--init`, or pass `--force`",
            )
        return None

    def begin(self, settings: TrainSettings, *, restart: bool) -> None:
        """Write the settings; on `restart`, first remove the files of an earlier run."""
        for path in list(self._of_a_run()) if restart else ():
            path.unlink()
        write_settings(self.folder / "settings.toml", settings)

    def _of_a_run(self) -> Iterator[Path]:
        """Yield the files that a run has written; others in the folder are not ours to remove."""
        for pattern in (STATE, "best.pt", "final.pt", "epoch-*.pt", *LOGS):
            yield from self.folder.glob(pattern)

    def save_state(self, state: TrainingState) -> None:
        """Replace the full state."""
        save_state(self.state, state)

    def save_epoch(self, model: ModelFile, *, epoch: int, keep_last: int) -> None:
        """Write the model of a finished epoch and drop the oldest beyond `keep_last`."""
        save_model(self.folder / f"epoch-{epoch:03d}.pt", model)
        numbered = [path for path in self.folder.glob("epoch-*.pt") if path.stem[6:].isdigit()]
        for old in sorted(numbered, key=lambda path: int(path.stem[6:]))[:-keep_last]:
            old.unlink()

    def save_best(self, model: ModelFile) -> None:
        """Replace the model with the lowest dev EER."""
        save_model(self.folder / "best.pt", model)

    def save_final(self, model: ModelFile) -> None:
        """Write the model at the end of the run."""
        save_model(self.folder / "final.pt", model)


def check_same_data(state: TrainingState, *, steps_per_epoch: int, fingerprint: str) -> None:
    """Refuse to resume where epochs have other lengths; warn where they hold other utterances.

    Raises
    ------
    SettingsError
        Names both numbers of steps.
    """
    if state.steps_per_epoch not in (0, steps_per_epoch):
        raise SettingsError(
            f"cannot resume on other data: {state.steps_per_epoch} steps an epoch then, "
            f"{steps_per_epoch} now",
            hint="bring the data back, or start from the state in another directory by `--init`",
        )
    if state.data not in ("", fingerprint):
        logs.warn(
            "the training data is not what the run began with: it goes on, but does not end as one "
            "that was not stopped"
        )


def check_same_run(
    state: TrainingState, settings: TrainSettings, *, speakers: list[str], world_size: int
) -> None:
    """Refuse to resume another run than the one that was stopped.

    Raises
    ------
    SettingsError
        Names the settings that differ, or the speakers or number of processes.
    """
    # Settings that are newer than the state had their defaults then.
    then = build_settings(TrainSettings, state.settings, where="training state")
    before, now = (flatten(which.model_dump(mode="json")) for which in (then, settings))
    changed = [
        f"{name}: {before.get(name)!r} then, {now.get(name)!r} now"
        for name in sorted(before.keys() | now.keys())
        if before.get(name) != now.get(name) and name not in FREE
    ]
    if changed:
        raise SettingsError(
            f"cannot resume with other settings ({name_some(changed, limit=3)})",
            hint="give the same command line plus `--resume`, or start again with `--force`",
        )
    if state.speakers != speakers:
        raise SettingsError("cannot resume with other training speakers than the run began with")
    if state.world_size != world_size:
        raise SettingsError(
            f"cannot resume a run of {state.world_size} processes with {world_size}",
            hint=f"use `--num-procs {state.world_size}`",
        )
