"""Parameter groups, optimizer, learning rate schedule and weight averaging."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from vtnstream.config import OptimConfig, TrainConfig
from vtnstream.models.architectures import VideoModel
from vtnstream.models.backbone import layer_depths

State = dict[str, Tensor]

_START_FACTOR, _END_FACTOR = 1 / 25, 1e-4
"""First and last learning rate of the one-cycle schedule, relative to the highest (Smith and Topin
2018)."""

_MATRICES = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def learning_rate(done: float, config: TrainConfig) -> float:
    """Return the learning rate after the share ``done`` (0 to 1) of all steps."""
    optim = config.optim
    if done < optim.warmup:
        part = done / optim.warmup
        if optim.schedule == "onecycle":
            rise = (1 - math.cos(math.pi * part)) / 2
            return optim.learning_rate * (_START_FACTOR + (1 - _START_FACTOR) * rise)
        return optim.learning_rate * part
    if optim.schedule == "constant":
        return optim.learning_rate
    if optim.schedule == "step":
        steps = zip(optim.step_epochs, optim.step_factors, strict=True)
        # At the boundary of two epochs the new one counts, despite rounding.
        epoch = done * optim.epochs + 1e-9
        return optim.learning_rate * [factor for at, factor in steps if at <= epoch][-1]
    part = (done - optim.warmup) / (1 - optim.warmup)
    fall = (1 + math.cos(math.pi * part)) / 2
    return optim.learning_rate * (_END_FACTOR + (1 - _END_FACTOR) * fall)


def parameter_groups(model: VideoModel, optim: OptimConfig) -> list[dict[str, object]]:
    """Return the trainable parameters, grouped by weight decay and learning rate factor.

    With ``decayed`` = ``matrices``, weight decay applies to the weights of linear layers and
    convolutions, not to biases, norms, [CLS] and embedding tables. With ``all`` it applies to
    everything except batch norms.

    Raises:
        ModelError: ``layer_decay`` is set for a backbone whose layers are not known.
    """
    kept = _not_decayed(model, optim.decayed)
    factors = _factors(model, optim)
    groups: dict[tuple[bool, float], list[nn.Parameter]] = {}
    matrices = {id(m.weight) for m in model.modules() if isinstance(m, _MATRICES)}
    for parameter in sorted(model.parameters(), key=lambda p: id(p) not in matrices):
        if parameter.requires_grad:
            key = (id(parameter) not in kept, factors.get(id(parameter), 1.0))
            groups.setdefault(key, []).append(parameter)
    return [
        {"params": members, "weight_decay": optim.weight_decay if decays else 0.0, "factor": factor}
        for (decays, factor), members in groups.items()
    ]


def freeze_batch_norm(backbone: nn.Module) -> None:
    """Set the batch norms of a backbone to evaluation mode, until the model is set to training
    mode.

    They keep their mean and variance; scale and offset are still trained.
    """
    for module in backbone.modules():
        if isinstance(module, _BATCH_NORMS):
            module.eval()


def _not_decayed(model: VideoModel, decayed: str) -> set[int]:
    if decayed == "all":
        norms = (m for m in model.modules() if isinstance(m, _BATCH_NORMS))
        return {id(parameter) for norm in norms for parameter in norm.parameters()}
    matrices = {id(m.weight) for m in model.modules() if isinstance(m, _MATRICES)}
    return {id(parameter) for parameter in model.parameters()} - matrices


def _factors(model: VideoModel, optim: OptimConfig) -> dict[int, float]:
    """Return the learning rate factors of the backbone's parameters, by id."""
    named = dict(model.backbone.named_parameters())
    factors = {id(parameter): optim.backbone_factor for parameter in named.values()}
    if optim.layer_decay != 1 and any(p.requires_grad for p in named.values()):
        depths = layer_depths(model.backbone)
        after = max(depths.values()) + 1
        for name, depth in depths.items():
            factors[id(named[name])] *= optim.layer_decay ** (after - depth)
    return factors


def build_optimizer(model: VideoModel, optim: OptimConfig) -> torch.optim.Optimizer:
    """Return AdamW or SGD for :func:`parameter_groups`."""
    groups = parameter_groups(model, optim)
    if optim.optimizer == "sgd":
        return torch.optim.SGD(
            groups, lr=optim.learning_rate, momentum=optim.momentum, nesterov=optim.nesterov
        )
    # One kernel for all weights: a third of the time of a step of a small network on the CPU.
    return torch.optim.AdamW(groups, lr=optim.learning_rate, fused=_on_cpu(model) or None)


def _on_cpu(model: VideoModel) -> bool:
    return all(p.device.type == "cpu" for p in model.parameters() if p.requires_grad)


def trained_state(model: VideoModel) -> State:
    """Return a copy of all weights except those of a frozen backbone."""
    frozen = not any(parameter.requires_grad for parameter in model.backbone.parameters())
    return {
        name: tensor.detach().clone()
        for name, tensor in model.state_dict().items()
        if not (frozen and name.startswith("backbone."))
    }


class WeightAverage:
    """Running average of a model's weights (Polyak), which is used for validation and saving.

    The decay is smaller in the first steps, so that the initial weights soon lose their
    influence.

    Args:
        model: the model whose weights are averaged.
        decay: decay of the average; 0 disables averaging.
    """

    def __init__(self, model: VideoModel, decay: float) -> None:
        self.model, self.decay = model, decay
        self.count = 0
        self.state: State = trained_state(model) if decay else {}
        live = {**dict(model.named_parameters()), **dict(model.named_buffers())}
        self._live = {name: live[name].detach() for name in self.state}

    def update(self) -> None:
        """Update the average after a step."""
        if not self.decay:
            return
        self.count += 1
        decay = min(self.decay, self.count / (self.count + 9))
        for name, held in self.state.items():
            if held.is_floating_point():
                held.lerp_(self._live[name], 1 - decay)
            else:
                held.copy_(self._live[name])

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Use the averaged weights in the model within the context."""
        if not self.decay:
            yield
            return
        current = self.model.state_dict()
        own = {name: current[name].clone() for name in self.state}
        self.model.load_state_dict(self.state, strict=False)
        try:
            yield
        finally:
            self.model.load_state_dict(own, strict=False)
