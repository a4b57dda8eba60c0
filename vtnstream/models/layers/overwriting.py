"""Decide whether a tensor may be overwritten instead of allocating another."""

from __future__ import annotations

import torch


def may_overwrite() -> bool:
    """Return whether in-place operations are allowed: no gradient needs the old values, and no
    compiler or exporter is tracing (they plan memory themselves)."""
    return not torch.is_grad_enabled() and not torch.compiler.is_compiling()
