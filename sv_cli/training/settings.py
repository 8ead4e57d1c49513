"""All settings of a training run as one nested model, free of torch."""

from collections.abc import Callable
from typing import Any, Literal, Self, TypeVar

from pydantic import Field, field_validator, model_validator

from sv_cli.augment.settings import AugmentSettings
from sv_cli.errors import SettingsError
from sv_cli.features.settings import find_frontend
from sv_cli.losses.registry import find_loss
from sv_cli.models.registry import find_model
from sv_cli.sampling.settings import DataSettings
from sv_cli.settings.model import Settings

Found = TypeVar("Found")


def _found(find: Callable[[str], Found], name: str) -> Found:
    """Look a name up as a check of a field, so that its error is reported with all others."""
    try:
        return find(name)
    except SettingsError as error:
        raise ValueError(error.message) from error


class LossSettings(Settings):
    """The classification loss."""

    name: str = Field(default="aam", description="Loss by name.")
    options: dict[str, Any] = Field(default={}, description="Further settings of the loss.")
    scale: float = Field(default=32.0, gt=0, description="Scale of the cosines.")
    easy_margin: bool = Field(
        default=False, description="Margin only where the cosine is positive."
    )
    margin: float = Field(default=0.2, ge=0, description="Final margin in radians.")
    initial_margin: float = Field(default=0.0, ge=0, description="Margin before it rises.")
    rise_start_epoch: float = Field(
        default=0.0, ge=0, description="Epochs done when the margin rises."
    )
    rise_end_epoch: float = Field(
        default=0.0, ge=0, description="Epochs done when it is at its end."
    )
    rise: Literal["exponential", "linear", "annealed"] = Field(
        default="exponential",
        description="Shape of the rise; annealed is speaker-net's, by the step alone.",
    )
    class_share: float = Field(
        default=1.0,
        gt=0,
        le=1,
        description="Share of the classes that a step compares with, its own always among them.",
    )

    @field_validator("name")
    @classmethod
    def _find_loss(cls, name: str) -> str:
        return _found(find_loss, name)

    @model_validator(mode="after")
    def _rises_in_order(self) -> Self:
        if 0 < self.rise_end_epoch < self.rise_start_epoch:
            raise ValueError("`rise_end_epoch` is before `rise_start_epoch`")
        return self


class OptimSettings(Settings):
    """The optimiser."""

    name: Literal["sgd", "adam", "adamw"] = Field(default="sgd", description="Optimiser by name.")
    momentum: float = Field(default=0.9, ge=0, lt=1, description="Momentum of SGD.")
    nesterov: bool = Field(default=True, description="Nesterov momentum of SGD.")
    weight_decay: float = Field(default=1e-4, ge=0, description="Weight decay.")
    head_decay: float = Field(
        default=1.0, ge=0, description="Weight decay of the classifier head over weight_decay."
    )
    decay_norm_and_bias: bool = Field(
        default=True,
        description="Decay batch-norm weights and biases too, as the recipes of the field do.",
    )
    clip_norm: float = Field(
        default=0.0, ge=0, description="Largest gradient norm; 0 does not clip."
    )


class ScheduleSettings(Settings):
    """The learning rate as a function of the step."""

    shape: Literal["exponential", "cosine", "step", "triangular", "constant"] = Field(
        default="exponential", description="How the rate falls after the warm-up."
    )
    lr: float = Field(default=0.1, gt=0, description="Highest learning rate.")
    final_lr: float = Field(
        default=5e-5,
        gt=0,
        description="Learning rate at the last step; the foot of `triangular`; not for `step`.",
    )
    warmup_epochs: float = Field(default=2.0, ge=0, description="Epochs of linear rise.")
    warmup_from: Literal["zero", "final", "first_step", "unscaled"] = Field(
        default="zero",
        description="The rise starts from zero, from final_lr, from one step's share, or from lr "
        "before it is scaled by the batch.",
    )
    end_epoch: float = Field(
        default=0.0, ge=0, description="Epoch at which final_lr is reached; 0 means the last."
    )
    gamma: float = Field(default=0.97, gt=0, le=1, description="Factor of each fall of `step`.")
    every_epochs: float = Field(
        default=1.0,
        gt=0,
        description="Epochs from fall to fall of `step`; of a flank of `triangular`.",
    )
    fall_epochs: tuple[float, ...] = Field(
        default=(),
        description="Epochs done at each fall of `step`, instead of at a fixed interval.",
    )
    reference_batch: int = Field(
        default=0,
        ge=0,
        description="Utterances a step that the rates are meant for; more raise them in "
        "proportion, 0 takes them as they are.",
    )


class InitSettings(Settings):
    """What a run starts from instead of random weights."""

    model: str = Field(
        default="", description="Model or training state to take weights from; `--init`."
    )
    head: bool | Literal["order"] = Field(
        default=True,
        description="Take the rows of the classes that the source knows by name; `order` takes "
        "all rows in their order, of a source without names and of the same number of classes.",
    )
    inherit: bool = Field(
        default=False,
        description="Take the settings of the run it comes from, below those of the recipe.",
    )


class EngineSettings(Settings):
    """How the arithmetic is done and what is kept."""

    device: Literal["auto", "cpu", "cuda"] = Field(default="auto", description="Where to train.")
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        default="auto",
        description="bf16 autocast where the processor gains by it, or as set; fp16 with scaled "
        "gradients on a GPU.",
    )
    num_threads: int = Field(
        default=1,
        ge=1,
        description="Intra-op threads a process on the CPU; more processes scale better.",
    )
    accumulate: int = Field(
        default=1, ge=1, description="Batches whose gradients are added before a step."
    )
    ema_decay: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="Decay of a running mean of the weights, which is validated and saved; 0 is "
        "without.",
    )
    sync_batchnorm: bool = Field(
        default=False, description="Batch statistics over all processes (GPUs only)."
    )
    compile: bool = Field(
        default=False, description="Compile the network for the one shape of a batch."
    )
    recompute: bool = Field(
        default=False,
        description="Keep the input of each block only and compute the rest again when the "
        "gradients need it: less memory, a third more time.",
    )
    log_every_steps: int = Field(default=10, ge=1, description="Steps between lines of the log.")
    save_every_steps: int = Field(
        default=200, ge=1, description="Steps between saves of the full state."
    )
    validate_every_epochs: int = Field(default=1, ge=1, description="Epochs between dev EERs.")
    keep_last: int = Field(default=3, ge=1, description="Models of the last epochs that are kept.")
    timeout_seconds: float = Field(
        default=600.0,
        gt=0,
        description="A process that answers nobody, or yields no data, for this long ends the run.",
    )
    tensorboard: bool = Field(
        default=False, description="Write curves for TensorBoard next to the logs."
    )

    @model_validator(mode="after")
    def _check_recompute(self) -> Self:
        if self.compile and self.recompute:
            raise ValueError("`compile` and `recompute` exclude each other")
        return self


class TrainSettings(Settings):
    """One training run."""

    model: str = Field(default="eres2net_base", description="Network by name.")
    model_options: dict[str, Any] = Field(
        default={}, description="Settings of the network to change."
    )
    frontend: str = Field(default="", description="Front-end by name; empty takes the model's own.")
    frontend_options: dict[str, Any] = Field(
        default={}, description="Settings of the front-end to change."
    )
    seed: int = Field(
        default=0,
        ge=0,
        lt=2**32,
        description="Seed of initial weights, order, crops and dither.",
    )
    num_epochs: int = Field(default=20, ge=1, description="Passes over the data.")
    batch_size: int = Field(default=32, ge=2, description="Utterances a step and process.")
    data: DataSettings = DataSettings()
    augment: AugmentSettings = AugmentSettings()
    loss: LossSettings = LossSettings()
    optim: OptimSettings = OptimSettings()
    schedule: ScheduleSettings = ScheduleSettings()
    init: InitSettings = InitSettings()
    engine: EngineSettings = EngineSettings()

    @field_validator("model")
    @classmethod
    def _find_model(cls, name: str) -> str:
        return _found(find_model, name)

    @field_validator("frontend")
    @classmethod
    def _find_frontend(cls, name: str) -> str:
        if name:
            _found(find_frontend, name)
        return name
