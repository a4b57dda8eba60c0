"""Fixtures of a video and a small model."""

from __future__ import annotations

from tests.small_model import compiled, compiler, extract, film, model, other_runtime, runtime

__all__ = ["compiled", "compiler", "extract", "film", "model", "other_runtime", "runtime"]
