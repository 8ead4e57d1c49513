"""Network, classes and optimiser: all that a step changes, and what a state keeps of it."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from sv_cli.checkpoints.model_file import load_weights
from sv_cli.checkpoints.state import TrainingState
from sv_cli.errors import SettingsError
from sv_cli.losses.class_sample import sample_classes
from sv_cli.losses.protocol import SpeakerLoss
from sv_cli.losses.registry import build_loss
from sv_cli.models.protocol import SpeakerEncoder
from sv_cli.models.registry import build_model
from sv_cli.training.distributed import World, hold_back, share_batchnorm, wrap
from sv_cli.training.ema import WeightMean
from sv_cli.training.precision import autocast, choose_precision, make_scaler
from sv_cli.training.recompute import recompute_blocks
from sv_cli.training.schedule import make_optimizer, set_learning_rate
from sv_cli.training.settings import LossSettings, TrainSettings


class Classifier(nn.Module):
    """Features and labels in, the loss and the number of correct classes out.

    Parameters
    ----------
    encoder : SpeakerEncoder
    head : SpeakerLoss
    num_classes : int
    class_share : float
        Share of the classes that a step compares with; 1 takes all.

    Attributes
    ----------
    encoder : SpeakerEncoder
        The network that is wanted.
    head : SpeakerLoss
        The loss with its class weights.

    Raises
    ------
    SettingsError
        When the loss cannot do with a share of the classes.
    """

    def __init__(
        self,
        encoder: SpeakerEncoder,
        head: SpeakerLoss,
        *,
        num_classes: int,
        class_share: float = 1.0,
    ) -> None:
        super().__init__()
        if class_share < 1.0 and not head.can_sample:
            raise SettingsError(
                "`loss.class_share`: this loss needs all classes in every step",
                hint="`am` and `aam` with their variants can sample",
            )
        self.encoder = encoder
        self.head = head
        self.num_classes, self.class_share = num_classes, class_share
        self._encode: Callable[[Tensor], Tensor] = encoder.__call__

    def compile_encoder(self) -> None:
        """Compile the network for fixed shapes; the module and its state dict stay as they are."""
        self._encode = torch.compile(self.encoder.forward, dynamic=False)

    def forward(self, feats: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean loss, float32, and (batch,) bool: whose own class is the nearest.

        Parameters
        ----------
        feats : (batch, frames, bins) float32
        labels : (batch,) int64
        """
        embeddings = self._encode(feats).float()
        if self.class_share == 1.0:
            loss, cosines = self.head(embeddings, labels)
        else:
            classes, labels = sample_classes(
                labels, num_classes=self.num_classes, share=self.class_share
            )
            loss, cosines = self.head(embeddings, labels, classes)
        return loss, cosines.argmax(dim=1) == labels


def make_head(settings: LossSettings, *, embedding_dim: int, num_classes: int) -> SpeakerLoss:
    """Return the loss of the settings, its margin at the value it starts from."""
    return build_loss(
        settings.name,
        embedding_dim=embedding_dim,
        num_classes=num_classes,
        scale=settings.scale,
        margin=settings.initial_margin if settings.rise_end_epoch > 0 else settings.margin,
        easy_margin=settings.easy_margin,
        **settings.options,
    )


class Learner:
    """What learns in one process.

    Parameters
    ----------
    settings : TrainSettings
    num_classes : int
    world : World

    Attributes
    ----------
    encoder : SpeakerEncoder
        The network that is trained.
    mean : WeightMean or None
        The running mean of its weights.
    """

    def __init__(self, settings: TrainSettings, *, num_classes: int, world: World) -> None:
        self.settings, self.world = settings, world
        self.precision = choose_precision(settings.engine.precision, world.device)
        torch.manual_seed(settings.seed)
        self.encoder: SpeakerEncoder = build_model(settings.model, **settings.model_options)
        head = make_head(
            settings.loss, embedding_dim=self.encoder.embedding_dim, num_classes=num_classes
        )
        self.module = Classifier(
            self.encoder, head, num_classes=num_classes, class_share=settings.loss.class_share
        )
        self._prepare()
        self.network = wrap(self.module, world)
        self.optimizer = make_optimizer(self.module, settings.optim, lr=settings.schedule.lr)
        self.scaler = make_scaler(self.precision, world.device)
        decay = settings.engine.ema_decay
        self.mean = WeightMean(self.encoder, decay=decay) if decay > 0 else None

    def _prepare(self) -> None:
        engine = self.settings.engine
        if engine.sync_batchnorm:
            share_batchnorm(self.module, self.world)
        self.module.to(self.world.device)
        if self.precision != "fp32":
            self.module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if engine.recompute and recompute_blocks(self.encoder) == 0:
            raise SettingsError(f"`engine.recompute`: `{self.settings.model}` has no blocks for it")
        if engine.compile:
            self.module.compile_encoder()

    @property
    def result(self) -> SpeakerEncoder:
        """The network that is validated and saved: the mean of the weights where there is one."""
        return self.encoder if self.mean is None else self.mean.encoder

    def backward(self, feats: Tensor, labels: Tensor, *, is_last: bool) -> tuple[Tensor, Tensor]:
        """Add the gradients of a batch; those of all processes meet in the last of a step.

        Parameters
        ----------
        feats : (batch, frames, bins) float32
        labels : (batch,) int64
        is_last : bool
            Whether the step ends with this batch.

        Returns
        -------
        loss : () float32
        correct : (batch,) bool
        """
        accumulate = self.settings.engine.accumulate
        if is_last:
            return self._backward(feats, labels, accumulate)
        with hold_back(self.network, self.world):
            return self._backward(feats, labels, accumulate)

    def _backward(self, feats: Tensor, labels: Tensor, accumulate: int) -> tuple[Tensor, Tensor]:
        with autocast(self.precision, self.world.device):
            loss, correct = self.network(feats, labels)
        share = loss if accumulate == 1 else loss / accumulate
        self.scaler.scale(share).backward()
        return loss.detach(), correct

    def update(self, step: int, *, lr: float) -> None:
        """Take step `step` (counted from 0) down the gradients and forget them."""
        set_learning_rate(self.optimizer, lr)
        clip_norm = self.settings.optim.clip_norm
        if clip_norm > 0:
            self.scaler.unscale_(self.optimizer)
            torch.nn.utils.clip_grad_norm_(self.module.parameters(), clip_norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        if self.mean is not None:
            self.mean.update(step + 1)

    def state(self, *, step: int, speakers: list[str], best_eer: float | None) -> TrainingState:
        """Return everything that a run needs to go on after `step` steps."""
        return TrainingState(
            step=step,
            encoder=self.encoder.state_dict(),
            head=self.module.head.state_dict(),
            optimizer=self.optimizer.state_dict(),
            settings=self.settings.model_dump(mode="json"),
            speakers=speakers,
            best_eer=best_eer,
            world_size=self.world.size,
            weight_mean=None if self.mean is None else self.mean.encoder.state_dict(),
            scaler=self.scaler.state_dict(),
        )

    def load(self, state: TrainingState) -> None:
        """Go back to a state of the same run."""
        load_weights(self.encoder, state.encoder, what="training state")
        load_weights(self.module.head, state.head, what="training state, classes")
        self.optimizer.load_state_dict(state.optimizer)
        if self.mean is not None and state.weight_mean is not None:
            load_weights(self.mean.encoder, state.weight_mean, what="training state, mean")
        if state.scaler:
            self.scaler.load_state_dict(state.scaler)
