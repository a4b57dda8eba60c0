"""Read this process's part of a batch from memory, disk or videos."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vtnstream.config import TrainConfig
from vtnstream.errors import VideoError
from vtnstream.models.architectures import VideoModel
from vtnstream.training.accelerator import Engine
from vtnstream.training.data.augment import ClipChange, draw_change
from vtnstream.training.data.batches import Batch, Crop, assemble, read_crop
from vtnstream.training.data.frames import FrameSequence
from vtnstream.training.data.targets import Sample
from vtnstream.types import Features

_MAX_KEPT_BYTES = 512 * 2**20
"""Maximum bytes of token inputs that are kept from epoch to epoch."""


class BatchReader:
    """Reads this process's part of each batch.

    Args:
        model: the model whose inputs are read.
        config: configuration of the run.
        engine: identifies this process.
        warn: receives one warning for each video that cannot be read and is skipped.

    Attributes:
        clip_positions: whether positions start at 0 in each crop.
    """

    def __init__(
        self, model: VideoModel, config: TrainConfig, engine: Engine, warn: Callable[[str], None]
    ) -> None:
        self._token_inputs = getattr(model, "token_inputs", None)
        self._size = model.config.preprocess
        self.clip_positions = model.config.temporal.window_positions == "clip"
        self._config, self._engine, self._warn = config, engine, warn
        self._missing: set[Path] = set()
        self._kept: dict[int, tuple[Sample, Tensor]] = {}
        self._room = _MAX_KEPT_BYTES

    def read(self, part: Sequence[Crop], generator: np.random.Generator) -> Batch:
        """Read this process's part of a batch.

        If the process has no part, or none of its videos can be read, the batch has ``counts``
        False.

        Args:
            part: the crops of the whole batch, of all processes.
            generator: random generator of the augmentation; it advances equally in every process.

        Raises:
            VideoError: a video cannot be read any more and must not be skipped.
        """
        frames = isinstance(part[0].sample.features, FrameSequence)
        draws: list[ClipChange] = []
        if frames:
            draws = [draw_change(self._config.augment, self._size, generator) for _ in part]
        own = list(range(len(part)))[self._engine.index :: self._engine.count]
        rows, crops = [], []
        asked = own or [0]
        for number, row in zip(asked, self.rows([part[n] for n in asked]), strict=True):
            if row is not None:
                rows.append(draws[number](row) if frames else row)
                crops.append(part[number])
        counts = bool(own and rows)
        if not rows:
            crops, rows = [part[0]], [self._blank(part[0])]
        batch = assemble(crops, rows, clip_positions=self.clip_positions)
        return batch if counts else replace(batch, counts=False)

    def rows(self, crops: Sequence[Crop]) -> list[Tensor | None]:
        """Return the inputs of each crop; None for one whose video cannot be read and is skipped.

        Videos are decoded in parallel.

        Raises:
            VideoError: a video cannot be read any more and must not be skipped.
        """
        features = (crop.sample.features for crop in crops)
        if all(not isinstance(f, FrameSequence) or f.held is not None for f in features):
            return [self._row(crop) for crop in crops]
        with ThreadPoolExecutor(min(len(crops), os.cpu_count() or 1)) as readers:
            return list(readers.map(self._row, crops))

    def _row(self, crop: Crop) -> Tensor | None:
        try:
            return self._inputs(crop)
        except VideoError as error:
            if self._config.data.on_bad_video == "stop":
                raise
            path = crop.sample.video.path
            if path not in self._missing:
                self._missing.add(path)
                self._warn(f"{error} (left out while it cannot be read)")
            return None

    def _inputs(self, crop: Crop) -> Tensor:
        """Return the inputs of a crop; those of whole samples in memory are kept within a limit."""
        sample = crop.sample
        whole = (crop.start, crop.stop, crop.stride) == (0, len(sample), 1)
        if not whole or not isinstance(sample.features, Features):
            return read_crop(crop, self._token_inputs)
        kept = self._kept.get(id(sample))
        if kept is not None:
            return kept[1]
        made = read_crop(crop, self._token_inputs)
        size = made.numel() * made.element_size()
        if size <= self._room:
            self._kept[id(sample)] = (sample, made)  # keeping the sample keeps its id unique
            self._room -= size
        return made

    def _blank(self, crop: Crop) -> Tensor:
        """Return black frames in place of a video that cannot be read."""
        height, width = self._size.size, self._size.frame_width
        return torch.zeros(len(crop), height, width, 3, dtype=torch.uint8)
