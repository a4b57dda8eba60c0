"""The two halves of a model as programs of their own: what is traced for other runtimes.

What is traced are the public methods of the model; nothing is computed anew for it. Only
lengths are prepared: a program is traced once, and the arithmetic of blocks is the same for
every length if sequences are padded to whole blocks, of which there are always two or more.
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
"""Tokens that sequences are padded to whole multiples of, or more where attention works in
larger blocks: a multiple of all blocks that inner loops work in. The attention's reach is
added, so that it never depends on the length."""

SAMPLES = ((2,), (1,), (5,))
SEQUENCES = ((2, 45), (1, 1), (1, 2), (3, 31), (2, 32), (1, 64), (1, 65), (2, 129), (1, 300))
"""Batch and length: the traced sizes first, then shorter and longer ones, on either side of
the borders of blocks."""


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """One half of a model and how to try it.

    Attributes:
        name: of its file.
        program: what is traced.
        model: what the program must equal, on the same inputs.
        inputs: names.
        outputs: names.
        num_free: leading axes of every input that vary.
        sizes: of these axes; the first are traced.
        example: random inputs of these sizes.
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
    """``backbone`` and ``temporal`` of a model in evaluation mode.

    Raises:
        ModelError: a causal model: its tokens come one after another, not as one program.
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
    """Everything after the backbone."""

    def __init__(self, model: VideoModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, features: Tensor, indices: Tensor) -> tuple[Tensor, ...]:
        return _present(self.model.forward_features(features, indices=indices))


class _PaddedTemporal(nn.Module):
    """The same of a VTN, whose attention works in blocks."""

    def __init__(self, model: VTN) -> None:
        super().__init__()
        self.model = model
        windows = model.config.temporal.attention_windows
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
    """All that is left after a ViViT that sees clips as a whole."""

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
    return Part("temporal", program, plain, inputs, outputs, 2, SEQUENCES, example)


def _present(output: VTNOutput) -> tuple[Tensor, ...]:
    heads = (output.logits, output.dense_logits)
    return tuple(logits for logits in heads if logits is not None)
