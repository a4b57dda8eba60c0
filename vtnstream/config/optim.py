"""How the weights of a model are learned."""

from __future__ import annotations

from dataclasses import dataclass

from vtnstream.config.checks import one_of
from vtnstream.errors import ConfigError

OPTIMIZERS = ("adamw", "sgd")
SCHEDULES = ("onecycle", "cosine", "step", "constant")
CLASS_WEIGHTS = ("none", "balanced", "root")
DECAYED = ("matrices", "all")
ON_TROUBLE = ("stop", "skip")


@dataclass(frozen=True, slots=True)
class OptimConfig:
    """Optimiser, schedule and what keeps a model from learning by heart.

    Attributes:
        optimizer: ``adamw``, or ``sgd`` with ``momentum``.
        epochs: passes over the training set.
        batch_size: sequences a step, over all processes.
        batch_tokens: fewer sequences where they are so long that a padded batch would hold
            more tokens than this.
        learning_rate: its highest value.
        backbone_factor: learning rate of the backbone, as a share of it.
        layer_decay: each layer of the backbone learns at this share of the rate of the layer
            after it (BEiT); 1 is off.
        momentum: of ``sgd``.
        nesterov: whether ``sgd`` looks ahead.
        weight_decay: on what ``decayed`` says.
        decayed: ``matrices``, not biases, norms, [CLS] and position tables; or ``all``
            parameters but those of batch norms, as PySlowFast has it.
        schedule: after ``warmup`` (a share of all steps) ``onecycle`` and ``cosine`` fall
            along a half cosine to nearly 0, ``step`` falls to ``step_factors`` at the epochs
            ``step_epochs``, ``constant`` stays; ``onecycle`` also rises along a cosine, the
            others in a line.
        step_epochs: counted from 0, increasing.
        step_factors: of the learning rate, one an epoch of ``step_epochs``.
        warmup: share of the steps in which the learning rate rises.
        grad_clip: largest norm of the gradient; 0 lets it be.
        label_smoothing: share of the target spread over all classes.
        steadiness: weight of MS-TCN's loss on steps between neighbouring tokens of the dense
            head (theirs is .15); 0 is off.
        class_weights: ``balanced`` weights each class by the inverse of its frequency,
            ``root`` by the inverse of its square root, for classes that are very rare.
        mixup: alpha of mixup, of features or of pixels (classification only); 0 is off.
        cutmix: alpha of CutMix, one box for all frames of a clip (from pixels,
            classification only); 0 is off. With ``mixup`` too, each batch draws one of them.
        stochastic_depth: highest share of a backbone's blocks left out, rising with depth.
        freeze_batch_norm: batch norms of the backbone keep the mean and variance they came
            with, for batches of a few clips, whose frames resemble each other.
        average: decay of the running average of the weights that is judged and saved; 0 takes
            the weights themselves.
        gradient_checkpointing: compute again in the backward pass what would be held for it:
            longer clips in the same memory, about a third more time.
        on_bad_loss: ``stop`` where the loss is not finite, or ``skip`` the step and say so.
        patience: stop after so many epochs without a better validation score; None never.
            Long-context tasks stand on a plateau for some epochs before they fall: under
            10 stops too early.
    """

    optimizer: str = "adamw"
    epochs: int = 40
    batch_size: int = 16
    batch_tokens: int = 32768
    learning_rate: float = 1e-3
    backbone_factor: float = 1.0
    layer_decay: float = 1.0
    momentum: float = 0.9
    nesterov: bool = True
    weight_decay: float = 0.05
    decayed: str = "matrices"
    schedule: str = "onecycle"
    step_epochs: tuple[float, ...] = (0.0, 13.0, 24.0)
    step_factors: tuple[float, ...] = (1.0, 0.1, 0.01)
    warmup: float = 0.2
    grad_clip: float = 1.0
    label_smoothing: float = 0.1
    steadiness: float = 0.0
    class_weights: str = "none"
    mixup: float = 0.0
    cutmix: float = 0.0
    stochastic_depth: float = 0.0
    freeze_batch_norm: bool = False
    average: float = 0.0
    gradient_checkpointing: bool = False
    on_bad_loss: str = "stop"
    patience: int | None = None

    def __post_init__(self) -> None:
        one_of("optim.optimizer", self.optimizer, OPTIMIZERS)
        one_of("optim.schedule", self.schedule, SCHEDULES)
        one_of("optim.class_weights", self.class_weights, CLASS_WEIGHTS)
        one_of("optim.decayed", self.decayed, DECAYED)
        one_of("optim.on_bad_loss", self.on_bad_loss, ON_TROUBLE)
        for name in ("epochs", "batch_size", "batch_tokens", "learning_rate", "layer_decay"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"optim.{name} must be positive, not {getattr(self, name)}")
        shares = ("mixup", "cutmix", "backbone_factor", "steadiness")
        for name in ("weight_decay", "grad_clip", *shares):
            if not getattr(self, name) >= 0:
                raise ConfigError(f"optim.{name} cannot be negative: {getattr(self, name)}")
        for name in ("warmup", "label_smoothing", "momentum", "average", "stochastic_depth"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(f"optim.{name} is a share from 0 to 1")
        if self.patience is not None and self.patience < 1:
            raise ConfigError(f"optim.patience must be at least 1, not {self.patience}")
        if self.optimizer == "sgd" and self.nesterov and not self.momentum:
            raise ConfigError("optim.nesterov needs optim.momentum")
        steps = self.step_epochs
        if len(steps) != len(self.step_factors) or list(steps) != sorted(set(steps)):
            raise ConfigError("optim.step_epochs rise, and optim.step_factors has one for each")
        if not steps or steps[0] != 0:
            raise ConfigError("optim.step_epochs begin at 0")
