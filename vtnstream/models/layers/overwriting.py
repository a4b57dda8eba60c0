"""When a fresh tensor may be overwritten instead of walking through fresh memory again."""

from __future__ import annotations

import torch


def may_overwrite() -> bool:
    """No gradient needs the old values, and no compiler or exporter looks on: they plan memory
    themselves."""
    return not torch.is_grad_enabled() and not torch.compiler.is_compiling()
