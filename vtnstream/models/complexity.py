"""Count parameters and multiply-adds of a model (paper Tables 3 and 4).

There are two conventions, and every table names its own. *Products with weights* is the paper's:
multiply-adds of linear layers and convolutions, without attention. *Full* adds those of attention
scores and weighted sums. One GFLOP of the literature is 1e9 multiply-adds.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from vtnstream.errors import UsageError
from vtnstream.models.layers.attention import LongformerSelfAttention
from vtnstream.models.vivit.model import ViViT
from vtnstream.models.vtn.model import VTN
from vtnstream.models.vtn.temporal import TemporalEncoder

_REFERENCE_PADDING = 36
"""The reference pads tokens, including [CLS], to a multiple of twice its window of 18 (17 to 36,
251 to 252); the paper's tables count the padded tokens."""

_WITH_WEIGHTS = frozenset({"aten.mm", "aten.addmm", "aten.convolution", "aten._convolution"})
"""Operators that multiply an activation with a weight. All other products multiply two activations,
which only attention does."""


@dataclass(frozen=True, slots=True)
class Products:
    """Numbers of multiply-adds.

    Attributes:
        weights: products of activations with weights.
        attention: products of activations with each other.
    """

    weights: int = 0
    attention: int = 0

    @property
    def full(self) -> int:
        """The sum of both."""
        return self.weights + self.attention

    def __add__(self, other: Products) -> Products:
        return Products(self.weights + other.weights, self.attention + other.attention)

    def __mul__(self, times: int) -> Products:
        return Products(self.weights * times, self.attention * times)


def count_parameters(module: nn.Module) -> int:
    """Return the number of trainable weights; shared ones are counted once."""
    return sum(parameter.numel() for parameter in module.parameters())


def count_products(run: Callable[..., Any], *inputs: Tensor) -> Products:
    """Return the multiply-adds of one call of a model, as it runs.

    Args:
        run: a module in evaluation mode, or one of its methods.
        inputs: its arguments. If they and the module are on the meta device, nothing is computed.
    """
    counting = _Counting()
    # Attention as plain products: which fused kernels have a formula depends on the release of
    # torch, and a kernel without one would count as 0.
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), counting:
        run(*inputs)
    return counting.products


class _Counting(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Add up torch's formulas for each operator that is called."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.products = Products()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        formula = flop_registry.get(func._overloadpacket)
        if formula is not None:
            # Formulas count a multiply-add twice.
            count = int(formula(*args, **(kwargs or {}), out_val=result)) // 2
            of_weights = str(func._overloadpacket) in _WITH_WEIGHTS
            self.products += Products(count, 0) if of_weights else Products(0, count)
        return result


def count_vtn_products(model: VTN, num_frames: int, *, views: int = 1) -> Products:
    """Return the multiply-adds of one video in the reference implementation, which the paper
    counts.

    It pads tokens and computes global keys and values for all of them; vtnstream does neither.

    Args:
        model: with a Longformer, on any device; nothing is computed.
        num_frames: frames of one view.
        views: number of views, clips x crops.
    """
    frame = count_frame_products(model)
    head = Products(_linear_products(model.mlp_head))
    return (frame * num_frames + count_encoder_products(model, num_frames) + head) * views


def count_vivit_products(model: ViViT) -> Products:
    """Return the multiply-adds of a ViViT for one clip, as it runs; its paper counts no padding."""
    size, frames = model.config.preprocess.size, model.vivit.num_frames
    clip = torch.empty(1, frames, 3, size, size, device="meta")
    return count_products(copy.deepcopy(model).to("meta").eval(), clip)


def count_frame_products(model: VTN) -> Products:
    """Return the multiply-adds of the backbone for one frame."""
    size = model.config.preprocess.size
    backbone = copy.deepcopy(model.backbone).to("meta").eval()
    return count_products(backbone, torch.empty(1, 3, size, size, device="meta"))


def count_encoder_products(model: VTN, num_frames: int) -> Products:
    """Return the multiply-adds of the temporal encoder; see :func:`count_vtn_products`.
    Attention counts only tokens without padding: their windows, their attention to [CLS], and
    that of [CLS] to all."""
    tokens = 1 + num_frames
    padded = -(-tokens // _REFERENCE_PADDING) * _REFERENCE_PADDING
    encoder = model.temporal_encoder
    if not isinstance(encoder, TemporalEncoder):
        raise UsageError(f"products of {model.config.temporal.kind} are not counted by formula")
    if encoder.config.causal:
        raise UsageError("products of a causal encoder are not counted by formula")
    size = encoder.hidden_size
    total = Products(_linear_products(model.input_projection) * num_frames)
    for layer in encoder.layers:
        attention = layer.attention.self
        alone = 0
        if attention.window is not None:
            alone = _linear_products(attention.query_global)
        total += Products((_linear_products(layer) - alone) * padded + alone)
        pairs = _pairs_seen(attention, num_frames) + num_frames + tokens  # and [CLS]'s
        total += Products(attention=int(2 * size * pairs))
    return total


def _pairs_seen(attention: LongformerSelfAttention, num_tokens: int) -> float:
    """Return the number of pairs of tokens that attend to each other, averaged over the heads.

    With dilation ``step`` there are ``step`` interleaved sequences.
    """
    if attention.window is None:
        return num_tokens**2
    reach = attention.window // 2
    counts = [
        sum(_pairs_in_band(len(range(first, num_tokens, step)), reach) for first in range(step))
        for step in attention.dilation
    ]
    return sum(counts) / len(counts)


def _pairs_in_band(num_tokens: int, reach: int) -> int:
    """Return the number of ordered pairs of tokens at most ``reach`` apart, including each token
    with itself."""
    reach = min(reach, max(num_tokens - 1, 0))
    return num_tokens * (2 * reach + 1) - reach * (reach + 1)


def _linear_products(module: nn.Module | None) -> int:
    """Return the multiply-adds of all linear layers of a module for one token."""
    parts = module.modules() if module is not None else ()
    return sum(p.in_features * p.out_features for p in parts if isinstance(p, nn.Linear))
