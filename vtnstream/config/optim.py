"""Configuration of the optimisation: optimiser, schedule and regularisation."""

from __future__ import annotations

from dataclasses import dataclass

from vtnstream.config.checks import one_of
from vtnstream.errors import ConfigError

_OPTIMIZERS = ("adamw", "sgd")
_SCHEDULES = ("onecycle", "cosine", "step", "constant")
_CLASS_WEIGHTS = ("none", "balanced", "root")
_DECAYED = ("matrices", "all")
ON_TROUBLE = ("stop", "skip")


@dataclass(frozen=True, slots=True)
class OptimConfig:
    """Optimiser, schedule and regularisation.

    Attributes:
        optimizer: ``adamw``, or ``sgd`` with ``momentum``.
        epochs: passes over the training set.
        batch_size: sequences per step, over all processes.
        batch_tokens: largest number of tokens of a padded batch; long sequences reduce the batch.
        learning_rate: peak learning rate.
        backbone_factor: learning rate of the backbone as a share of ``learning_rate``.
        layer_decay: factor between the learning rates of a backbone layer and the layer after it
            (BEiT); 1 is off.
        momentum: momentum of ``sgd``.
        nesterov: whether ``sgd`` uses Nesterov momentum.
        weight_decay: weight decay of the parameters selected by ``decayed``.
        decayed: ``matrices`` excludes biases, norms, [CLS] and position tables; ``all`` excludes
            only batch norms, as PySlowFast does.
        schedule: after ``warmup``, ``onecycle`` and ``cosine`` fall along a half cosine to nearly
            0, ``step`` falls to ``step_factors`` at the epochs ``step_epochs``, and ``constant``
            stays. The warm-up of ``onecycle`` is a half cosine, that of the others linear.
        step_epochs: epochs of ``step``, counted from 0, increasing.
        step_factors: factor of the learning rate from each of ``step_epochs`` on.
        warmup: share of the steps in which the learning rate rises.
        grad_clip: largest norm of the gradient; 0 is off.
        label_smoothing: share of the target that is spread over all classes.
        temporal_smoothing: weight of MS-TCN's smoothing loss between neighbouring tokens of the
            dense head (theirs is 0.15); 0 is off.
        class_weights: ``balanced`` weights each class by the inverse of its frequency,
            ``root`` by the inverse of its square root, for classes that are very rare.
        mixup: alpha of mixup, of features or of pixels (classification only); 0 is off.
        cutmix: alpha of CutMix, one box for all frames of a clip (from pixels,
            classification only); 0 is off. With ``mixup`` too, each batch draws one of them.
        stochastic_depth: probability of dropping the deepest backbone block; it rises linearly
            with depth.
        freeze_batch_norm: keep the mean and variance of the backbone's batch norms, for batches of
            few clips, whose frames are too similar to estimate them.
        average: decay of the running average of the weights, which is then evaluated and saved; 0
            evaluates and saves the weights themselves.
        gradient_checkpointing: recompute activations in the backward pass instead of storing them:
            longer clips fit in the same memory, for about a third more time.
        on_bad_loss: ``stop`` at a loss that is not finite, or ``skip`` the step with a warning.
        patience: epochs without a better validation score after which training stops; None never
            stops early. The loss of long-context tasks stays on a plateau for some epochs, so
            values under 10 stop too early.
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
    temporal_smoothing: float = 0.0
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
        one_of("optim.optimizer", self.optimizer, _OPTIMIZERS)
        one_of("optim.schedule", self.schedule, _SCHEDULES)
        one_of("optim.class_weights", self.class_weights, _CLASS_WEIGHTS)
        one_of("optim.decayed", self.decayed, _DECAYED)
        one_of("optim.on_bad_loss", self.on_bad_loss, ON_TROUBLE)
        for name in ("epochs", "batch_size", "batch_tokens", "learning_rate", "layer_decay"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"optim.{name} must be positive, not {getattr(self, name)}")
        shares = ("mixup", "cutmix", "backbone_factor", "temporal_smoothing")
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
            raise ConfigError(
                "optim.step_epochs must increase, and optim.step_factors must have one for each"
            )
        if not steps or steps[0] != 0:
            raise ConfigError("optim.step_epochs must begin at 0")
