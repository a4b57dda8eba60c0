"""A VTN in numpy: load a model folder, encode frames, classify sequences of features."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path

import numpy as np
from safetensors.numpy import load

from vtnstream.config import HeadConfig, ModelConfig
from vtnstream.config.loading import from_dict
from vtnstream.errors import VtnstreamError
from vtnstream.models.io.json_file import read_json
from vtnstream.models.long_sequence.output import SequenceOutput
from vtnstream.models.numpy_vtn.frame_network import FrameNetwork
from vtnstream.models.numpy_vtn.functions import LayerNorm, Linear, Weights, gelu
from vtnstream.models.numpy_vtn.layout import Sizes, supports, weight_shapes
from vtnstream.models.numpy_vtn.sequence import Encoder, SequencePass
from vtnstream.models.numpy_vtn.token_inputs import TokenInputs
from vtnstream.types import FeatureSequence, FloatArray

_BLOCK = 1024
_UNCOUNTED = "num_batches_tracked"
_NORM_EPSILON = 1e-5
_LARGEST_FILE = 256 * 2**20


class NumpyVTN:
    """A model that :func:`~vtnstream.models.numpy_vtn.layout.supports` accepts. Several threads
    may use it at once.

    Args:
        config: of the model.
        weights: all weights by name, float32.

    Attributes:
        config: of the model.
        frames: pixels to features.
        num_features: D.
        weights_sha256: hash of all weights, and ``backbone_sha256`` of those of the backbone; equal
            to those of the model in torch.
        num_bytes: bytes of all weights.
    """

    def __init__(self, config: ModelConfig, weights: Weights) -> None:
        sizes, temporal = Sizes.of(config), config.temporal
        self.config = config
        self.frames = FrameNetwork(config, weights)
        self.num_features = sizes.features
        self.weights_sha256 = _sha256(weights)
        self.backbone_sha256 = _sha256(weights, "backbone.")
        self.num_bytes = sum(weight.nbytes for weight in weights.values())
        self._inputs = TokenInputs(temporal.token_inputs, sizes.read, temporal.similarity_reach)
        self._projection = None
        if "input_projection.weight" in weights:
            self._projection = Linear.of(weights, "input_projection")
        self._encoder = Encoder(weights, temporal.num_heads, temporal.attention_windows)
        self._class_head = _class_head(weights, config.head)
        self._dense_head = Linear.of(weights, "dense_head") if config.head.dense_labels else None

    def encode_sequence(
        self,
        features: FeatureSequence,
        *,
        dense: bool = True,
        attention: Collection[int] = (),
        scratch: Path | None = None,
    ) -> SequenceOutput:
        """Classify a whole sequence in blocks; see
        :func:`vtnstream.models.long_sequence.streaming.encode_sequence`.

        Args:
            features: N feature vectors with their grid positions.
            dense: whether to run the dense head.
            attention: layers whose attention weights of [CLS] are returned, numbered from 0.
            scratch: folder for states that do not fit in memory.

        Raises:
            StoreError: there is no room for the states on disk.
        """
        head, indices = self._dense_head, features.times.indices
        logits: FloatArray | None = None
        emit = None
        if dense and head is not None:
            found = np.empty((len(indices), len(self.config.head.dense_labels)), np.float32)

            def emit(start: int, block: FloatArray) -> None:
                found[start : start + len(block)] = head(block)

            logits = found
        running = SequencePass(self._encoder, indices, attention)
        running.run(self._embedded(features), emit, scratch)
        if logits is not None and self.config.head.dense_temperature != 1:
            logits /= np.float32(self.config.head.dense_temperature)
        rows = np.stack(running.rows) if running.rows else None
        return SequenceOutput(self._class_logits(running.cls), logits, rows)

    def encode_windows(
        self, features: FeatureSequence, starts: Sequence[int], window: int
    ) -> Iterator[tuple[int, FloatArray]]:
        """Classify windows of tokens; see
        :func:`vtnstream.models.long_sequence.windows.encode_windows`.

        Args:
            features: N feature vectors with their grid positions.
            starts: first token of each window, not decreasing.
            window: tokens per window.

        Yields:
            (first token, logits (K,) float32); the model has a class head.
        """
        clip = self.config.temporal.window_positions == "clip"
        blocks, indices = self._embedded(features), features.times.indices
        first, held = 0, np.empty((0, self._encoder.size), np.float32)
        for start in starts:
            parts = [held[start - first :]]
            end, first = first + len(held), start
            while end < min(start + window, len(indices)):
                parts.append(next(blocks))
                end += len(parts[-1])
            held = np.concatenate(parts)
            places = indices[start : start + window]
            running = SequencePass(self._encoder, places - places[0] if clip else places)
            running.run([held[:window]], None)
            logits = self._class_logits(running.cls)
            assert logits is not None
            yield start, logits

    def _embedded(self, features: FeatureSequence) -> Iterator[FloatArray]:
        """Yield consecutive blocks (T, Dh) of embedded tokens."""
        for inputs in self._inputs.in_blocks(features.blocks(_BLOCK), features.times.indices):
            tokens = inputs.copy() if self._projection is None else self._projection(inputs)
            yield self._encoder.embed(tokens)

    def _class_logits(self, cls: FloatArray) -> FloatArray | None:
        if self._class_head is None:
            return None
        logits: FloatArray = self._class_head(cls)[0] / np.float32(self.config.head.temperature)
        return logits


def _class_head(weights: Weights, head: HeadConfig) -> Callable[[FloatArray], FloatArray] | None:
    """Return the head on [CLS] (paper section 3.3), or None without labels."""
    if not head.labels:
        return None
    if head.linear:
        return Linear.of(weights, "mlp_head.0")
    norm = LayerNorm.of(weights, "mlp_head.0", _NORM_EPSILON)
    inner, outer = Linear.of(weights, "mlp_head.1"), Linear.of(weights, "mlp_head.4")
    return lambda cls: outer(gelu(inner(norm(cls.copy()))))


def load_numpy_vtn(folder: Path) -> NumpyVTN | None:
    """Load a model folder; None if numpy cannot run it.

    A folder with any fault gives None too: the loader in torch finds the same fault and names it.
    """
    config = _config(folder)
    if config is None or not supports(config):
        return None
    weights = _weights(folder / "model.safetensors")
    if weights is None or config.temporal.num_layers > len(weights):  # before names of each layer
        return None
    if {name: weight.shape for name, weight in weights.items()} != weight_shapes(config):
        return None
    plain = all(weight.dtype == np.float32 for weight in weights.values())
    if not plain or not all(np.isfinite(weight).all() for weight in weights.values()):
        return None
    return NumpyVTN(config, weights)


def _config(folder: Path) -> ModelConfig | None:
    try:
        return from_dict(ModelConfig, read_json(folder / "config.json"), where="config.json")
    except VtnstreamError:
        return None


def _weights(path: Path) -> Weights | None:
    """Return the arrays of a regular file; None for any other file, which may never end."""
    try:
        if not path.is_file() or path.stat().st_size > _LARGEST_FILE:
            return None
        found = load(path.read_bytes())
    except Exception:  # the parser raises many exceptions on damaged bytes
        return None
    return {n: weight for n, weight in found.items() if not n.endswith(_UNCOUNTED)}


def _sha256(weights: Weights, prefix: str = "") -> str:
    """Return the hash of weights: that of :func:`vtnstream.models.io.weights.weights_sha256`."""
    digest = hashlib.sha256()
    own = {name.removeprefix(prefix): w for name, w in weights.items() if name.startswith(prefix)}
    for name, weight in sorted(own.items()):
        digest.update(f"{name} torch.{weight.dtype} {tuple(weight.shape)}\n".encode())
        digest.update(np.ascontiguousarray(weight).data)
    return digest.hexdigest()
