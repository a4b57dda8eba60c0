"""The two programs that a model is exported as: its backbone, and everything after it.

They call the public methods of the model. Sequences are padded to whole blocks, always two or more,
because a program is traced once and its computation in blocks must be the same for every length.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vtnstream.errors import ModelError
from vtnstream.models.architectures import VideoModel
from vtnstream.models.layers.sliding_window import block_size
from vtnstream.models.vivit.model import ViViT
from vtnstream.models.vtn.model import VTN, VTNOutput

BLOCK = 64
"""Sequences are padded to multiples of this many tokens, or of the attention's blocks if those are
larger; it is a multiple of the blocks of all inner loops. The reach of the attention is added, so
that it never depends on the length."""

SAMPLES = ((2,), (1,), (5,))
_SEQUENCES = ((2, 45), (1, 1), (1, 2), (3, 31), (2, 32), (1, 64), (1, 65), (2, 129), (1, 300))
"""Batch sizes and lengths that are tried: the traced ones first, then shorter and longer ones on
both sides of the borders of blocks."""


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """One half of a model, and how to test its program.

    Attributes:
        name: of its file.
        program: the module to trace.
        model: must give the same outputs on the same inputs.
        inputs: names in order.
        outputs: names in order.
        num_free: number of leading axes of every input that vary.
        sizes: of these axes; the first are traced.
        example: returns random inputs of these sizes.
    """

    name: str
    program: nn.Module
    model: Callable[..., tuple[Tensor, ...]]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    num_free: int
    sizes: tuple[tuple[int, ...], ...]
    example: Callable[..., tuple[Tensor, ...]]


def parts_of(model: VideoModel) -> tuple[Part, Part]:
    """Return the parts ``backbone`` and ``temporal`` of a model in evaluation mode.

    Raises:
        ModelError: the model is causal: its tokens come one after another, not as one program.
    """
    if model.config.temporal.causal:
        raise ModelError(
            f"model {model.config.name} is causal: it is used online, and is not exported"
        )
    return _backbone(model), _temporal(model)


class _Backbone(nn.Module):
    def __init__(self, model: VideoModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, frames: Tensor) -> tuple[Tensor]:
        return (self.model.encode_frames(frames),)


def _backbone(model: VideoModel) -> Part:
    prepare = model.config.preprocess
    shape: tuple[int, ...] = (3, prepare.size, prepare.frame_width)
    if isinstance(model, ViViT):
        shape = (model.backbone.num_frames, *shape)

    def example(count: int) -> tuple[Tensor]:
        return (torch.randn(count, *shape, generator=torch.Generator().manual_seed(count)),)

    program = _Backbone(model)
    return Part("backbone", program, program, ("frames",), ("features",), 1, SAMPLES, example)


class _Temporal(nn.Module):
    """The part after the backbone."""

    def __init__(self, model: VideoModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, features: Tensor, indices: Tensor) -> tuple[Tensor, ...]:
        return _present(self.model.forward_features(features, indices=indices))


class _PaddedTemporal(nn.Module):
    """The part after the backbone of a VTN, whose attention works in blocks."""

    def __init__(self, model: VTN) -> None:
        super().__init__()
        self.model = model
        temporal = model.config.temporal
        windows = temporal.attention_windows
        if temporal.local_attention:
            windows = (*windows, 2 * 2**temporal.num_layers)
        self.block = max(BLOCK, *map(block_size, windows))
        self.more = self.block * (1 + -(-max(windows) // self.block))

    def forward(self, features: Tensor, indices: Tensor) -> tuple[Tensor, ...]:
        length = features.shape[1]
        whole = self.block * ((length + self.block - 1) // self.block)
        padding = whole + self.more - length
        real = F.pad(torch.ones_like(indices, dtype=torch.bool), (0, padding), value=False)
        output = self.model.forward_features(
            F.pad(features, (0, 0, 0, padding)),
            indices=F.pad(indices, (0, padding)),
            padding_mask=real,
        )
        dense = output.dense_logits
        return _present(VTNOutput(output.logits, None if dense is None else dense[:, :length]))


class _ClipHead(nn.Module):
    """The head of a ViViT whose backbone encodes whole clips."""

    def __init__(self, model: ViViT) -> None:
        super().__init__()
        self.model = model

    def forward(self, features: Tensor) -> tuple[Tensor, ...]:
        return _present(self.model.forward_features(features[:, None]))


def _temporal(model: VideoModel) -> Part:
    heads = (("logits", model.config.head.labels), ("dense_logits", model.config.head.dense_labels))
    outputs = tuple(name for name, labels in heads if labels)

    def example(batch: int, length: int) -> tuple[Tensor, Tensor]:
        random = torch.Generator().manual_seed(length)
        features = torch.randn(batch, length, model.num_features, generator=random)
        steps = torch.randint(1, 3, (batch, length), generator=random)  # some grid points skipped
        return features, steps.cumsum(1)

    def vectors(count: int) -> tuple[Tensor]:
        return (example(1, count)[0][0],)

    if isinstance(model, ViViT) and not model.vivit.reads_sequences:
        head = _ClipHead(model)
        return Part("temporal", head, head, ("features",), outputs, 1, SAMPLES, vectors)
    plain = _Temporal(model)
    program = _PaddedTemporal(model) if isinstance(model, VTN) else plain
    inputs = ("features", "indices")
    return Part("temporal", program, plain, inputs, outputs, 2, _SEQUENCES, example)


def _present(output: VTNOutput) -> tuple[Tensor, ...]:
    heads = (output.logits, output.dense_logits)
    return tuple(logits for logits in heads if logits is not None)
