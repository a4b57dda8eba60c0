"""Training steps as contenders: forward, backward and update on clips in memory."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from benchmarks.peers.clips import NETWORKS, _pathways, build
from vtnstream.config import TrainConfig
from vtnstream.models.create import create_model
from vtnstream.models.presets import preset
from vtnstream.training.accelerator import AcceleratedEngine, Engine
from vtnstream.training.data.batches import Batch
from vtnstream.training.loop import Trainer
from vtnstream.training.settings import train_config

CLASSES = 400
RECIPE = "kinetics400_vtn_vit_b.toml"


class OurStep:
    """The recipe of the VTN paper through the loop of ``vtnstream train``.

    Args:
        preset_name: of the model.
        frames: of a clip.
        size: height and width of its frames.
        clips: of a step.
        device: ``cpu`` or ``cuda``.
        precision: of :class:`~vtnstream.config.TrainConfig`.
        overrides: more keys of the recipe, for small trials.
    """

    def __init__(
        self,
        preset_name: str,
        frames: int,
        size: int,
        clips: int,
        device: str,
        precision: str,
        overrides: dict[str, Any] | None = None,
    ) -> None:
        from vtnstream.config.shipped import shipped

        more = {"preset": preset_name, "precision": precision, **(overrides or {})}
        self.config: TrainConfig = train_config(shipped("train") / RECIPE, more)
        shape = replace(
            preset(preset_name),
            backbone=self.config.backbone,
            temporal=self.config.temporal,
            preprocess=replace(preset(preset_name).preprocess, size=size, resize=max(size, 256)),
        )
        torch.manual_seed(0)
        model = create_model(shape, num_classes=CLASSES).to(device)
        on_cpu = device == "cpu"
        plain = precision == "float32"
        engine = Engine() if plain else AcceleratedEngine(precision, on_cpu=on_cpu)
        self.trainer = Trainer(model, [], self.config, engine, lambda message: None)
        self.trainer.model.train()
        inputs = torch.randint(0, 256, (clips, frames, size, size, 3), dtype=torch.uint8)
        labels = torch.arange(clips) % CLASSES
        indices = (8 * torch.arange(frames)).expand(clips, -1)
        self.batch = Batch(inputs, indices, None, labels, None)
        self.device = device

    def step(self) -> float:
        """Return the seconds of one step per clip."""
        return _timed(
            lambda: self.trainer.step(self.batch, 1e-3), self.device, len(self.batch.inputs)
        )


class PeerStep:
    """A clip network with the SGD of its publication.

    Args:
        network: of :data:`~benchmarks.peers.clips.NETWORKS`.
        size: of the training crop.
        clips, device, precision: as of :class:`OurStep`.
        frames: of a clip; 0 is the network's own.
    """

    def __init__(
        self, network: str, size: int, clips: int, device: str, precision: str, frames: int = 0
    ) -> None:
        torch.manual_seed(0)
        settings = NETWORKS[network]
        self.alpha = settings.alpha
        self.network = build(network).to(device).train()
        # Its head pools over the map of 256 pixels. A training crop gives a smaller map, and the
        # mean over all of it is the same head.
        _pool_everything(self.network)
        self.optimizer = torch.optim.SGD(
            self.network.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4, nesterov=True
        )
        self.inputs = torch.randn(clips, 3, frames or settings.frames, size, size, device=device)
        self.labels = torch.arange(clips, device=device) % CLASSES
        self.device, self.dtype = device, getattr(torch, precision)

    def step(self) -> float:
        """Return the seconds of one step per clip."""
        return _timed(self._step, self.device, len(self.inputs))

    def _step(self) -> float:
        self.optimizer.zero_grad(set_to_none=True)
        mixed = self.dtype != torch.float32
        with torch.autocast(self.device, self.dtype, enabled=mixed):
            logits: Tensor = self.network(_pathways(self.inputs, self.alpha))
        loss = torch.nn.functional.cross_entropy(logits.float(), self.labels)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        return float(loss.detach())


def _pool_everything(network: torch.nn.Module) -> None:
    """Let the average pools of the head cover all positions, whatever the size of the crop."""
    for module in network.modules():
        pool = getattr(module, "pool", None)
        if isinstance(pool, torch.nn.ModuleList):  # SlowFast: one for each pathway
            module.pool = torch.nn.ModuleList(torch.nn.AdaptiveAvgPool3d(1) for _ in pool)
        elif isinstance(pool, torch.nn.AvgPool3d):
            module.pool = torch.nn.AdaptiveAvgPool3d(1)


def _timed(work: Any, device: str, clips: int) -> float:
    began = time.perf_counter()
    loss = work()
    if device == "cuda":
        torch.cuda.synchronize()
    if loss != loss:
        raise ValueError("the loss is no number")
    return (time.perf_counter() - began) / clips
