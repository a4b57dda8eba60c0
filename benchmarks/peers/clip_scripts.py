"""Features of many short videos as users and experts write it: one file of features each.

``user`` is a loop over the files: decode, transform, one batch in float32, save. ``expert``
decodes in one thread for each core, joins frames of several files to full batches in bf16,
compiled if that is faster, and saves the rows of each file.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.peers.features import FeaturePeer
from benchmarks.peers.readers import BATCH


class ClipScript(FeaturePeer):
    """One library in one manner, over the videos of a list; ``output`` is a folder."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._folder = Path(self.output)

    @torch.inference_mode()
    def extract_all(self, videos: list[str]) -> int:
        """Write the features of each video; return the number of frames."""
        self._folder.mkdir(parents=True, exist_ok=True)
        outputs = [str(self._folder / f"{Path(video).stem}.npy") for video in videos]
        if self.expert:
            return self._extract_across(videos, outputs)
        total = 0
        for video, self.output in zip(videos, outputs, strict=True):
            total += self.extract(video)
        return total

    def decode_all(self, videos: list[str]) -> int:
        """Decode only the sampled frames of each video."""
        return sum(self.decode(video) for video in videos)

    def _extract_across(self, videos: list[str], outputs: list[str]) -> int:
        waiting: deque[tuple[str, int]] = deque()  # files, and how many frames each has
        frames: list[Tensor] = []
        features: list[Tensor] = []

        def save() -> None:
            """Save the files whose rows are complete."""
            known = torch.cat(features) if features else torch.empty(0)
            while waiting and len(known) >= waiting[0][1]:
                output, count = waiting.popleft()
                np.save(output, known[:count].float().cpu().numpy())
                known = known[count:]
            features[:] = [known] if len(known) else []

        total = 0
        for output, inputs in zip(outputs, self._decoded_ahead(videos), strict=True):
            total += len(inputs)
            waiting.append((output, len(inputs)))
            frames.append(inputs)
            while sum(map(len, frames)) >= BATCH:
                joined = torch.cat(frames)
                features.append(self._forward(joined[:BATCH]))
                frames[:] = [joined[BATCH:]]
            save()
        rest = torch.cat(frames)
        if len(rest):
            features.append(self._forward(rest))
        save()
        return total

    def _decoded_ahead(self, videos: list[str]) -> Iterator[Tensor]:
        """Yield the model inputs of each video in order; threads decode and transform ahead."""
        cores = len(os.sched_getaffinity(0))

        @torch.inference_mode()
        def inputs(video: str) -> Tensor:
            return torch.cat(list(self._prepared(video)))

        with ThreadPoolExecutor(cores, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            coming: deque[Future[Tensor]] = deque()
            for video in videos:
                coming.append(pool.submit(inputs, video))
                if len(coming) > 2 * cores:
                    yield coming.popleft().result()
            while coming:
                yield coming.popleft().result()
