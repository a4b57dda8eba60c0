"""Contenders of the CUDA benchmark besides vtnstream: the matrix ceiling, and decoders alone."""

from __future__ import annotations

import time
from fractions import Fraction

import torch

from benchmarks.peers.readers import READERS


class Matrix:
    """Measures matrix products in bf16."""

    def teraflops(self, device: str, side: int, repeats: int = 50) -> float:
        """Return the best of five series of products of square matrices; a multiply-add is two
        operations."""
        a, b = (torch.randn(side, side, device=device, dtype=torch.bfloat16) for _ in range(2))
        best = float("inf")
        for _ in range(6):  # the first warms up
            _wait(device)
            began = time.perf_counter()
            for _ in range(repeats):
                torch.mm(a, b)
            _wait(device)
            best = min(best, (time.perf_counter() - began) / repeats)
        return 2 * side**3 / best / 1e12

    def products(self, backbone: str) -> int:
        """Return the multiply-adds of one frame."""
        from vtnstream.config import BackboneConfig
        from vtnstream.models.backbone import create_backbone, native_preprocess
        from vtnstream.models.complexity import count_products

        config = BackboneConfig(backbone)
        size = native_preprocess(config).size
        with torch.device("meta"):
            model = create_backbone(config).eval()
            return count_products(model, torch.empty(1, 3, size, size)).full


class Decoder:
    """The reader of one library, which decodes whole frames."""

    def __init__(self, reader: str, manner: str, rate: str) -> None:
        self.read, self.rate = READERS[reader, manner], Fraction(rate)

    def decode(self, video: str) -> int:
        return sum(len(batch) for batch in self.read(video, self.rate))


def _wait(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
