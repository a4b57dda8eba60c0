"""Which models numpy can run, and the names and shapes of their weights."""

from __future__ import annotations

from dataclasses import dataclass

from vtnstream.config import BackboneConfig, ModelConfig, PreprocessConfig, TemporalConfig

BACKBONE = "resnet10t"
_ARGUMENTS = {"channels", "stem_width"}
_STAGES = 4
_MOST_PIXELS = 128 * 128
"""Pixels of a frame. The network is for small frames, of which several fit the cache."""
_MOST_IN_MAP = 4096
"""Numbers of the last map, which is averaged and projected by one matrix."""
_WIDEST_WINDOW = 256
"""Tokens of the largest window: blocks of queries are small."""
_TOKEN_INPUTS = ("feature", "feature+difference", "feature+difference+similarity")

Shape = tuple[int, ...]


def supports(config: ModelConfig) -> bool:
    """Return whether a model of this config can run in numpy.

    Only what the code was written for is supported: ``resnet10t`` with a feature map and frames
    that its strides divide, and a plain Longformer with rotary positions.
    """
    return (
        config.architecture == "vtn"
        and config.vivit is None
        and config.feature_norm == "none"
        and _supports_temporal(config.temporal)
        and _supports_backbone(config.backbone, config.preprocess)
        and _heads_fit(config)
    )


def _supports_temporal(temporal: TemporalConfig) -> bool:
    return (
        temporal.kind == "longformer"
        and temporal.positions == "rotary"
        and temporal.token_inputs in _TOKEN_INPUTS
        and temporal.attention == "learned"
        and temporal.global_attention
        and not temporal.causal
        and temporal.num_global_tokens == 1
        and max(temporal.attention_window) <= _WIDEST_WINDOW
        and all(step == 1 for row in temporal.dilation for step in row)
    )


def _supports_backbone(backbone: BackboneConfig, preprocess: PreprocessConfig) -> bool:
    stage = backbone.out_index or 0
    if backbone.name != BACKBONE or set(backbone.arguments) != _ARGUMENTS:
        return False
    channels, stem = backbone.arguments["channels"], backbone.arguments["stem_width"]
    if not isinstance(channels, (list, tuple)) or len(channels) != _STAGES:
        return False
    if not all(type(size) is int and size > 0 for size in (*channels, stem)) or stem < 4:
        return False
    if not 0 < stage <= _STAGES:
        return False
    step = 2 ** (stage + 1)  # frame pixels per cell of the map
    sizes = (preprocess.size, preprocess.frame_width)
    if any(size % step for size in sizes) or sizes[0] * sizes[1] > _MOST_PIXELS:
        return False
    if channels[stage - 1] * (sizes[0] // step) * (sizes[1] // step) > _MOST_IN_MAP:
        return False
    fits = zip(sizes, backbone.grid, backbone.thumbnail or (1, 1), strict=True)
    return not any((size // step) % cells or size % small for size, cells, small in fits)


def _heads_fit(config: ModelConfig) -> bool:
    """Return whether the number of heads divides the width, in pairs of numbers."""
    width = Sizes.of(config).hidden
    return width % (2 * config.temporal.num_heads) == 0


@dataclass(frozen=True, slots=True)
class Sizes:
    """Numbers of a model that follow from its config.

    Attributes:
        stem: channels after each convolution of the stem.
        stages: channels of each stage.
        read: numbers of a feature that the temporal encoder reads.
        features: D, with the thumbnail.
        inputs: numbers of the inputs of a token.
        hidden: width of the temporal encoder.
    """

    stem: tuple[int, int, int]
    stages: tuple[int, ...]
    read: int
    features: int
    inputs: int
    hidden: int

    @classmethod
    def of(cls, config: ModelConfig) -> Sizes:
        """Return the sizes for a config whose backbone is supported."""
        backbone, temporal = config.backbone, config.temporal
        width = backbone.arguments["stem_width"]
        stages = tuple(backbone.arguments["channels"][: backbone.out_index])
        read = backbone.projection or stages[-1] * backbone.grid[0] * backbone.grid[1]
        compares = temporal.token_inputs != "feature"
        similar = 3 * temporal.similarity_reach * temporal.token_inputs.endswith("similarity")
        return cls(
            stem=(3 * (width // 4), width, 2 * width),
            stages=stages,
            read=read,
            features=read + backbone.num_thumbnail,
            inputs=(3 * read if compares else read) + similar,
            hidden=temporal.hidden_size or read,
        )


def weight_shapes(config: ModelConfig) -> dict[str, Shape]:
    """Return the names and shapes of the weights of a supported model, without BatchNorm's
    counters."""
    sizes = Sizes.of(config)
    return {**_of_backbone(config, sizes), **_of_encoder(config, sizes), **_of_heads(config, sizes)}


def _of_backbone(config: ModelConfig, sizes: Sizes) -> dict[str, Shape]:
    found: dict[str, Shape] = {}

    def convolution(name: str, norm: str, before: int, width: int, size: int = 3) -> None:
        found[f"backbone.body.{name}.weight"] = (width, before, size, size)
        for part in ("weight", "bias", "running_mean", "running_var"):
            found[f"backbone.body.{norm}.{part}"] = (width,)

    first, second, third = sizes.stem
    convolution("conv1.0", "conv1.1", 3, first)
    convolution("conv1.3", "conv1.4", first, second)
    convolution("conv1.6", "bn1", second, third)
    before = third
    for number, width in enumerate(sizes.stages, 1):
        name = f"layer{number}.0"
        convolution(f"{name}.conv1", f"{name}.bn1", before, width)
        convolution(f"{name}.conv2", f"{name}.bn2", width, width)
        if number > 1 or before != width:
            convolution(f"{name}.downsample.1", f"{name}.downsample.2", before, width, 1)
        before = width
    if config.backbone.projection:
        rows, columns = config.backbone.grid
        found |= linear("backbone.projection.0", before * rows * columns, sizes.read)
        found |= norm("backbone.projection.1", sizes.read)
    return found


def linear(name: str, before: int, width: int) -> dict[str, Shape]:
    """Return the weights of a linear layer."""
    return {f"{name}.weight": (width, before), f"{name}.bias": (width,)}


def norm(name: str, width: int) -> dict[str, Shape]:
    """Return the weights of a LayerNorm."""
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def _of_encoder(config: ModelConfig, sizes: Sizes) -> dict[str, Shape]:
    width, inner = sizes.hidden, config.temporal.intermediate_size
    found: dict[str, Shape] = {"cls_token": (1, 1, width)}
    if sizes.inputs != width or sizes.inputs != sizes.read:
        found |= linear("input_projection", sizes.inputs, width)
    prefix = "temporal_encoder"
    found[f"{prefix}.embeddings.token_type_embeddings.weight"] = (2, width)
    found |= norm(f"{prefix}.embeddings.LayerNorm", width)
    for number in range(config.temporal.num_layers):
        name = f"{prefix}.encoder.layer.{number}"
        for part in ("query", "key", "value"):
            found |= linear(f"{name}.attention.self.{part}", width, width)
            found |= linear(f"{name}.attention.self.{part}_global", width, width)
        found |= linear(f"{name}.attention.output.dense", width, width)
        found |= norm(f"{name}.attention.output.LayerNorm", width)
        found |= linear(f"{name}.intermediate.dense", width, inner)
        found |= linear(f"{name}.output.dense", inner, width)
        found |= norm(f"{name}.output.LayerNorm", width)
    return found


def _of_heads(config: ModelConfig, sizes: Sizes) -> dict[str, Shape]:
    head, width = config.head, sizes.hidden
    found: dict[str, Shape] = {}
    if head.labels and head.linear:
        found |= linear("mlp_head.0", width, len(head.labels))
    elif head.labels:
        inner = head.mlp_dim or width
        found |= norm("mlp_head.0", width)
        found |= linear("mlp_head.1", width, inner)
        found |= linear("mlp_head.4", inner, len(head.labels))
    if head.dense_labels:
        found |= linear("dense_head", width, len(head.dense_labels))
    return found
