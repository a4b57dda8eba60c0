"""Fixtures of a video and a small model."""

from __future__ import annotations

from tests.small_model import compiled, compiler, extract, model, other_runtime, runtime, video

__all__ = ["compiled", "compiler", "extract", "model", "other_runtime", "runtime", "video"]
