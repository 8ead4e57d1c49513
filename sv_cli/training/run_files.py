"""What a run keeps in its experiment directory, and what `--resume` may start from."""

from dataclasses import dataclass
from pathlib import Path

from sv_cli.checkpoints.model_file import ModelFile, save_model
from sv_cli.checkpoints.state import TrainingState, load_state, save_state
from sv_cli.errors import SettingsError, TrainingError, name_some
from sv_cli.settings.model import build_settings
from sv_cli.settings.toml import flatten
from sv_cli.training.distributed import World, gather_objects
from sv_cli.training.settings import TrainSettings

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
    with the lowest dev EER, `final.pt` the last; `settings.toml`, `train.log` and `log.jsonl` tell
    what was done.
    """

    folder: Path

    @property
    def state(self) -> Path:
        """The file of the full state."""
        return self.folder / "state.pt"

    def prepare(self, world: World, *, resume: bool, force: bool) -> TrainingState | None:
        """Return the state to go on from, or None for a fresh start.

        Raises
        ------
        TrainingError
            When an earlier run stands there and neither `--resume` nor `--force` was given.
        """
        state = load_state(self.state) if resume and self.state.is_file() else None
        gather_objects(None, world)  # all have read before the first may write
        if state is not None or not world.is_first:
            return state
        earlier = [*self.folder.glob("*.pt"), *self.folder.glob("*log*")]
        if earlier and not force and not resume:
            raise TrainingError(
                f"`{self.folder}` holds an earlier run",
                hint="go on with `--resume`, or start anew with `--force`",
            )
        for path in earlier:
            path.unlink()
        self.folder.mkdir(parents=True, exist_ok=True)
        return None

    def save_state(self, state: TrainingState) -> None:
        """Replace the full state."""
        save_state(self.state, state)

    def save_epoch(self, model: ModelFile, *, epoch: int, keep_last: int) -> None:
        """Write the model of a finished epoch and drop the oldest beyond `keep_last`."""
        save_model(self.folder / f"epoch-{epoch:03d}.pt", model)
        for old in sorted(self.folder.glob("epoch-*.pt"))[:-keep_last]:
            old.unlink()

    def save_best(self, model: ModelFile) -> None:
        """Replace the model with the lowest dev EER."""
        save_model(self.folder / "best.pt", model)

    def save_final(self, model: ModelFile) -> None:
        """Write the model at the end of the run."""
        save_model(self.folder / "final.pt", model)


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
            hint="give the same command line plus `--resume`, or start anew with `--force`",
        )
    if state.speakers != speakers:
        raise SettingsError("cannot resume with other training speakers than the run began with")
    if state.world_size != world_size:
        raise SettingsError(
            f"cannot resume a run of {state.world_size} processes with {world_size}",
            hint=f"use `--num-procs {state.world_size}`",
        )
