"""Parameters and multiply-adds, counted from the model (paper Tables 3 and 4).

Two conventions, named in every table. *Products with weights* is the paper's: what linear
layers and convolutions multiply, without attention. *Full* adds what attention multiplies:
scores and weighted sums. Multiply-adds of 1e9 are the literature's GFLOPs.
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

REFERENCE_PADDING = 36
"""The reference pads tokens, [CLS] among them, to a multiple of twice its window of 18
(17 to 36, 251 to 252), and its arithmetic is what the paper's tables count."""

_WITH_WEIGHTS = frozenset({"aten.mm", "aten.addmm", "aten.convolution", "aten._convolution"})
"""Products of an activation with a weight; all others that torch knows multiply two
activations, which only attention does."""


@dataclass(frozen=True, slots=True)
class Products:
    """Multiply-adds.

    Attributes:
        weights: of activations with weights.
        attention: of activations with each other.
    """

    weights: int = 0
    attention: int = 0

    @property
    def full(self) -> int:
        """Both together."""
        return self.weights + self.attention

    def __add__(self, other: Products) -> Products:
        return Products(self.weights + other.weights, self.attention + other.attention)

    def __mul__(self, times: int) -> Products:
        return Products(self.weights * times, self.attention * times)


def count_parameters(module: nn.Module) -> int:
    """Numbers that training may change, each once however often it is used."""
    return sum(parameter.numel() for parameter in module.parameters())


def count_products(run: Callable[..., Any], *inputs: Tensor) -> Products:
    """Multiply-adds of one call of a model, as it really runs.

    Args:
        run: a module in evaluation mode, or a method of one.
        inputs: its arguments; on the meta device, like the module, nothing is computed.
    """
    counting = _Counting()
    # As plain products: which of the fused kernels have a formula differs by release of torch,
    # and what has none would count nothing.
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), counting:
        run(*inputs)
    return counting.products


class _Counting(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up torch's own formulas for each operator that passes."""

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
    """Multiply-adds of one video in the reference's arithmetic, which the paper counts:
    padded tokens, and global keys and values for all of them. (vtnstream itself saves both.)

    Args:
        model: with a Longformer; on any device, nothing is computed.
        num_frames: frames of one view.
        views: clips x crops.
    """
    frame = count_frame_products(model)
    head = Products(_linear_products(model.mlp_head))
    return (frame * num_frames + count_encoder_products(model, num_frames) + head) * views


def count_vivit_products(model: ViViT) -> Products:
    """Multiply-adds of a ViViT for one clip, as it really runs: its paper pads nothing."""
    size, frames = model.config.preprocess.size, model.vivit.num_frames
    clip = torch.empty(1, frames, 3, size, size, device="meta")
    return count_products(copy.deepcopy(model).to("meta").eval(), clip)


def count_frame_products(model: VTN) -> Products:
    """Multiply-adds of the backbone for one frame."""
    size = model.config.preprocess.size
    backbone = copy.deepcopy(model.backbone).to("meta").eval()
    return count_products(backbone, torch.empty(1, 3, size, size, device="meta"))


def count_encoder_products(model: VTN, num_frames: int) -> Products:
    """Multiply-adds of the temporal encoder, as :func:`count_vtn_products`. Attention counts
    the tokens that exist: their windows, their look at [CLS], and its look at all."""
    tokens = 1 + num_frames
    padded = -(-tokens // REFERENCE_PADDING) * REFERENCE_PADDING
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
    """Pairs of tokens that see each other, a mean over the heads: tokens ``step`` apart are
    sequences of their own."""
    if attention.window is None:
        return num_tokens**2
    reach = attention.window // 2
    counts = [
        sum(_pairs_in_band(len(range(first, num_tokens, step)), reach) for first in range(step))
        for step in attention.dilation
    ]
    return sum(counts) / len(counts)


def _pairs_in_band(num_tokens: int, reach: int) -> int:
    """Pairs of tokens at most ``reach`` apart, each with itself and in both orders."""
    reach = min(reach, max(num_tokens - 1, 0))
    return num_tokens * (2 * reach + 1) - reach * (reach + 1)


def _linear_products(module: nn.Module | None) -> int:
    """Multiply-adds of all linear layers of a module for one token."""
    parts = module.modules() if module is not None else ()
    return sum(p.in_features * p.out_features for p in parts if isinstance(p, nn.Linear))
