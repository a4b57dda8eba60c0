"""Contenders that classify a sequence of N feature vectors.

They are vtnstream, transformers' Longformer and an encoder with full attention. The first two
hold the same weights and must agree.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vtnstream.cli.framework.process_settings import keep_freed_memory
from vtnstream.config import HeadConfig, ModelConfig, TemporalConfig
from vtnstream.models.long_sequence.streaming import encode_sequence
from vtnstream.models.vtn.model import VTN
from vtnstream.types import FloatArray, TokenTimes

NUM_CLASSES = 400
ROWS = 4096
"""Number of different feature vectors; longer sequences repeat them, so that generating them is
cheap."""

SEED = 0


class NoBackbone(nn.Module):
    """Replaces the backbone, because features are given."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.num_features = num_features


class Sequence:
    """N tokens as a feature store returns them: block by block."""

    def __init__(self, count: int, size: int) -> None:
        self.table = np.random.default_rng(SEED).standard_normal((ROWS, size)).astype(np.float32)
        indices = np.arange(count, dtype=np.int64)
        self.times = TokenTimes(indices, indices, indices / 2.0, indices / 2.0 + 0.5)

    @property
    def num_features(self) -> int:
        return int(self.table.shape[1])

    def rows(self, start: int, stop: int) -> FloatArray:
        found: FloatArray = self.table[np.arange(start, stop) % ROWS]
        return found

    def blocks(self, size: int) -> Iterator[FloatArray]:
        for start in range(0, len(self.times), size):
            yield self.rows(start, min(start + size, len(self.times)))


class Contender:
    """Base class of the contenders.

    Args:
        hidden_size, layers, heads, window: of the encoder.
        dtype: ``float32`` or ``bfloat16``.
        device: ``cpu`` or ``cuda``.
    """

    def __init__(
        self,
        hidden_size: int = 768,
        layers: int = 3,
        heads: int = 12,
        window: int = 32,
        dtype: str = "float32",
        device: str = "cpu",
    ) -> None:
        torch.manual_seed(SEED)
        temporal = TemporalConfig(
            num_layers=layers,
            num_heads=heads,
            intermediate_size=4 * hidden_size,
            attention_window=(window,),
            positions="learned",
        )
        labels = tuple(f"class_{number}" for number in range(NUM_CLASSES))
        config = ModelConfig(temporal=temporal, head=HeadConfig(labels=labels))
        self.device, self.dtype = torch.device(device), getattr(torch, dtype)
        self.model = VTN(config, NoBackbone(hidden_size)).eval().to(self.device, self.dtype)

    def load(self) -> None:
        """Do nothing: the model is loaded by the constructor."""

    def run(self, count: int) -> list[float]:
        """Return the logits of the class, from ``count`` tokens."""
        sequence = Sequence(count, self.model.num_features)
        with torch.inference_mode():
            return self.logits(sequence).float().cpu().tolist()

    def logits(self, sequence: Sequence) -> Tensor:
        """Return the logits (K,) of one sequence."""
        raise NotImplementedError

    def whole(self, sequence: Sequence) -> Tensor:
        """Return the sequence as one tensor (1, N, D), for models without blocks."""
        values = torch.from_numpy(sequence.rows(0, len(sequence.times)))
        return values.to(self.device, self.dtype)[None]

    def head(self, cls: Tensor) -> Tensor:
        """Map (1, D) to (K,)."""
        assert self.model.mlp_head is not None
        logits: Tensor = self.model.mlp_head(cls)[0]
        return logits


class Ours(Contender):
    """vtnstream's encoder, as ``classify`` uses it on stored features."""

    def __init__(self, **settings: Any) -> None:
        keep_freed_memory()  # as the command does
        super().__init__(**settings)

    def logits(self, sequence: Sequence) -> Tensor:
        logits = encode_sequence(self.model, sequence, dense=False).logits
        assert logits is not None
        return torch.from_numpy(logits)


class Longformer(Contender):
    """transformers' LongformerModel with the weights of vtnstream's encoder, called as in
    PySlowFast."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        from transformers import LongformerConfig, LongformerModel

        ours = self.model.temporal_encoder.config
        config = LongformerConfig(
            vocab_size=1,
            pad_token_id=-1,
            bos_token_id=None,
            eos_token_id=None,
            sep_token_id=None,
            hidden_size=self.model.num_features,
            num_hidden_layers=ours.num_layers,
            num_attention_heads=ours.num_heads,
            intermediate_size=ours.intermediate_size,
            attention_window=list(ours.attention_windows),
            max_position_embeddings=ours.max_positions,
            type_vocab_size=2,
        )
        self.rows, self.window = ours.max_positions, math.lcm(*ours.attention_windows)
        self.theirs: Any = LongformerModel(config, add_pooling_layer=False).eval()
        state = self.model.temporal_encoder.state_dict()
        unused = {"embeddings.word_embeddings.weight"}
        missing, unexpected = self.theirs.load_state_dict(state, strict=False)
        if set(missing) != unused or unexpected:
            raise ValueError(f"parameter names differ: {missing}, {unexpected}")
        self.theirs.to(self.device, self.dtype)
        del self.model.temporal_encoder

    def logits(self, sequence: Sequence) -> Tensor:
        tokens = self.whole(sequence)
        count, size = tokens.shape[1:]
        extra = -(count + 1) % self.window
        padding = tokens.new_full((1, extra, size), -1.0)
        kinds = torch.zeros(1, count + 1 + extra, dtype=torch.long, device=self.device)
        kinds[:, 0] = 1
        mask = torch.ones_like(kinds)
        mask[:, 0], mask[:, count + 1 :] = 2, 0  # global, absent
        places = torch.full_like(kinds, self.rows - 1)
        places[:, 0] = self.rows - 2
        places[:, 1 : count + 1] = torch.arange(count, device=self.device) % (self.rows - 2)
        states = self.theirs(
            inputs_embeds=torch.cat((self.model.cls_token, tokens, padding), 1),
            attention_mask=mask,
            position_ids=places,
            token_type_ids=kinds,
        ).last_hidden_state
        return self.head(states[:, 0])


class FullAttention(Contender):
    """Full attention: torch's own encoder layers of the same size.

    They use ``scaled_dot_product_attention``, which holds no N x N matrix (their "fast path"
    does).
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        torch.backends.mha.set_fastpath_enabled(False)
        ours = self.model.temporal_encoder.config
        layer = nn.TransformerEncoderLayer(
            self.model.num_features,
            ours.num_heads,
            ours.intermediate_size,
            activation="gelu",
            batch_first=True,
        )
        self.theirs = nn.TransformerEncoder(layer, ours.num_layers, enable_nested_tensor=False)
        self.theirs.eval().to(self.device, self.dtype)
        del self.model.temporal_encoder

    def logits(self, sequence: Sequence) -> Tensor:
        tokens = torch.cat((self.model.cls_token, self.whole(sequence)), 1)
        return self.head(self.theirs(tokens)[:, 0])
