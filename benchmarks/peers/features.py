"""Features of a video without vtnstream: a reader, torchvision or timm transforms, a timm model.

``user``: float32, eager, frame by frame, as in tutorials. ``expert``: bf16 if the hardware
multiplies it, channels last, ``torch.compile`` if it is faster, and a thread that reads and
scales ahead. Both use batches, in one process.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np
import timm
import torch
from timm.data import create_transform, resolve_data_config
from torch import Tensor

from benchmarks.machine import has_bf16
from benchmarks.peers.readers import BATCH, READERS

READ_AHEAD = 2
"""Batches between the expert's thread and its model."""


class RandomWeights:
    """Writes the same untrained weights for every contender; speed does not depend on them."""

    def write(self, backbone: str, path: str) -> None:
        torch.manual_seed(0)
        torch.save(timm.create_model(backbone, num_classes=0).state_dict(), path)


class FeaturePeer:
    """One library in one manner.

    Args:
        reader: ``opencv``, ``torchcodec`` or ``pyav``.
        manner: ``user`` or ``expert`` (``nvdec``: an expert whose frames stay on the GPU).
        backbone: timm name.
        weights: a state dict of it.
        rate: frames per second.
        output: feature file to write (``.npy``).
        device: ``cpu`` or ``cuda``.
        compiled: whether the expert may compile.
    """

    def __init__(
        self,
        reader: str,
        manner: str,
        backbone: str,
        weights: str,
        rate: str,
        output: str,
        device: str = "cpu",
        compiled: bool = True,
    ) -> None:
        self.read = READERS[reader, manner]
        self.expert = manner != "user"
        self.rate, self.output, self.device = Fraction(rate), output, torch.device(device)
        self.compiled = compiled and self.expert
        self.dtype = torch.bfloat16 if self.expert and _multiplies_bf16(device) else torch.float32
        self.facts = [str(self.dtype).removeprefix("torch.")]
        model = timm.create_model(backbone, num_classes=0)
        model.load_state_dict(torch.load(weights, weights_only=True))
        self.config = resolve_data_config({}, model=model)
        self.model: Any = model.eval().to(self.device, self.dtype)
        if self.expert:
            self.model = self.model.to(memory_format=torch.channels_last)
        self.transform = _on_tensors(self.config)
        self.to_model_input = create_transform(**self.config)

    @torch.inference_mode()
    def load(self) -> str:
        """Prepare the model; return how it computes.

        The expert compiles if one batch then takes less time.
        """
        if self.compiled:
            eager = self.model
            candidate = torch.compile(eager, dynamic=False)
            pays = self._seconds(candidate) < self._seconds(eager)
            self.model = candidate if pays else eager
            self.facts.append("compiled" if pays else "eager")
        return ", ".join(self.facts)

    def _seconds(self, model: Any) -> float:
        """Return the seconds of one batch, after one that may compile."""
        batch = self._random_batch()
        best = float("inf")
        for _ in range(3):
            began = time.perf_counter()
            model(batch)
            self._wait()
            best = min(best, time.perf_counter() - began)
        return best

    @torch.inference_mode()
    def extract(self, video: str) -> int:
        """Write the features (T, D) of a video, from opening it; return T."""
        batches = self._prepared(video)
        if self.expert:
            batches = _ahead(batches)
        features = [self._forward(batch) for batch in batches]
        values = torch.cat(features).float().cpu().numpy()
        np.save(self.output, values)
        return len(values)

    def decode(self, video: str) -> int:
        """Decode only the sampled frames."""
        return sum(len(batch) for batch in self.read(video, self.rate))

    @torch.inference_mode()
    def backbone(self, count: int) -> int:
        """Run only the model, on ``count`` prepared inputs."""
        batch = self._random_batch()
        for first in range(0, count, BATCH):
            self._forward(batch[: min(BATCH, count - first)])
        self._wait()
        return count

    def _random_batch(self) -> Tensor:
        random = torch.randn(BATCH, *self.config["input_size"]).to(self.device, self.dtype)
        return random.contiguous(memory_format=torch.channels_last) if self.expert else random

    def _prepared(self, video: str) -> Iterator[Tensor]:
        """Yield batches of model inputs (T, 3, H, W)."""
        for pictures in self.read(video, self.rate):
            if isinstance(pictures, list):
                batch = torch.stack([self.to_model_input(picture) for picture in pictures])
            else:
                batch = self.transform(pictures)
            batch = batch.to(self.device, self.dtype)
            if self.expert:
                batch = batch.contiguous(memory_format=torch.channels_last)
            yield batch

    def _forward(self, batch: Tensor) -> Tensor:
        """Map (T, 3, H, W) to (T, D).

        A compiled model always gets whole batches, because a smaller one would compile it again.
        """
        missing = BATCH - len(batch)
        if missing and self.compiled:
            batch = torch.cat((batch, batch.new_zeros(missing, *batch.shape[1:])))
        features: Tensor = self.model(batch)
        return features[: BATCH - missing] if self.compiled else features

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()


def _multiplies_bf16(device: str) -> bool:
    return torch.cuda.is_bf16_supported() if device == "cuda" else has_bf16()


def _on_tensors(config: dict[str, Any]) -> Any:
    """Return timm's evaluation transform for batches of uint8 tensors."""
    from torchvision.transforms import InterpolationMode, v2

    size = config["input_size"][-1]
    return v2.Compose(
        [
            v2.Resize(
                int(size / config["crop_pct"]),
                InterpolationMode(config["interpolation"]),
                antialias=True,
            ),
            v2.CenterCrop(size),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(config["mean"], config["std"]),
        ]
    )


def _ahead(batches: Iterator[Tensor]) -> Iterator[Tensor]:
    """Yield the same batches, made in another thread."""
    waiting: queue.Queue[Tensor | Exception | None] = queue.Queue(READ_AHEAD)

    def work() -> None:
        try:
            for batch in batches:
                waiting.put(batch)
            waiting.put(None)
        except Exception as error:
            waiting.put(error)

    threading.Thread(target=work, daemon=True).start()
    while (item := waiting.get()) is not None:
        if isinstance(item, Exception):
            raise item
        yield item
