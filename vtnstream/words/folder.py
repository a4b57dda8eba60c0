"""Read the configuration of an image-text model in the format of transformers.

transformers itself is not needed for it: a query whose features and text vectors are stored
needs neither tower.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vtnstream.config import BackboneConfig, PreprocessConfig
from vtnstream.errors import ConfigError, ModelError
from vtnstream.models.io.json_file import read_json

FAMILIES = ("siglip", "siglip2", "clip")
"""``model_type`` of transformers; ``siglip2`` is the variant of free aspect ratio, which is read
at a fixed square. SigLIP 2 of fixed size says ``siglip``."""

CONFIG_FILE = "config.json"
PREPROCESS_FILES = ("preprocessor_config.json", "processor_config.json")
_ALONE = {"siglip_vision_model", "siglip2_vision_model", "clip_vision_model"}
_TEXT_ALONE = {"siglip_text_model", "siglip2_text_model", "clip_text_model"}
_RESAMPLING = {1: "lanczos", 2: "bilinear", 3: "bicubic"}
_ACTIVATIONS = {"gelu_pytorch_tanh": "gelu_tanh", "gelu": "gelu", "quick_gelu": "quick_gelu"}

_VISION: Mapping[str, Mapping[str, Any]] = {
    "siglip": {
        "hidden_size": 768,
        "intermediate_size": 3072,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "num_channels": 3,
        "image_size": 224,
        "patch_size": 16,
        "hidden_act": "gelu_pytorch_tanh",
        "layer_norm_eps": 1e-6,
        "vision_use_head": True,
    },
    "siglip2": {
        "hidden_size": 768,
        "intermediate_size": 3072,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "num_channels": 3,
        "num_patches": 256,
        "patch_size": 16,
        "hidden_act": "gelu_pytorch_tanh",
        "layer_norm_eps": 1e-6,
        "vision_use_head": True,
    },
    "clip": {
        "hidden_size": 768,
        "intermediate_size": 3072,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "num_channels": 3,
        "image_size": 224,
        "patch_size": 32,
        "hidden_act": "quick_gelu",
        "layer_norm_eps": 1e-5,
    },
}
"""What transformers takes where ``config.json``, which holds only what differs, is silent."""

_TEXT: Mapping[str, Mapping[str, Any]] = {
    "siglip": {"hidden_size": 768, "max_position_embeddings": 64, "vocab_size": 32000},
    "siglip2": {"hidden_size": 768, "max_position_embeddings": 64, "vocab_size": 32000},
    "clip": {"hidden_size": 512, "max_position_embeddings": 77, "vocab_size": 49408},
}
_PROJECTION_DIM = 512


@dataclass(frozen=True, slots=True)
class WordsConfig:
    """Configuration of an image-text model.

    Attributes:
        family: one of :data:`FAMILIES`.
        num_layers: number of layers of the image tower.
        backbone: timm name and arguments of the image tower.
        preprocess: preprocessing of its frames.
        image_size: length of an image vector before any projection.
        size: E, dimension of the shared space.
        max_tokens: maximum length of a prompt, special tokens included.
        vocabulary: number of tokens of the tokeniser.
        is_projected: image vectors are projected into the shared space (CLIP).
    """

    family: str
    num_layers: int
    backbone: BackboneConfig
    preprocess: PreprocessConfig
    image_size: int
    size: int
    max_tokens: int
    vocabulary: int
    is_projected: bool


def recognises(folder: str | Path) -> bool:
    """Return whether a ``config.json`` describes an image-text model, or one of its towers."""
    try:
        kind = read_json(Path(folder) / CONFIG_FILE).get("model_type")
    except ModelError:
        return False
    return kind in FAMILIES or kind in _ALONE or kind in _TEXT_ALONE


def read_words_config(folder: Path) -> WordsConfig:
    """Read ``config.json`` and the preprocessing of an image-text model.

    Raises:
        ModelError: a file is missing or damaged, one tower is missing, the towers do not belong
            together, or it has parts that are not known here.
    """
    path = folder / CONFIG_FILE
    data = read_json(path)
    family = data.get("model_type")
    if family in _ALONE:
        raise ModelError(
            f"{folder}: holds an image tower without a text tower: it answers --like, through "
            "--backbone, and no words; name a folder of the whole model"
        )
    if family in _TEXT_ALONE:
        raise ModelError(f"{folder}: holds a text tower without an image tower")
    if family not in FAMILIES:
        raise ModelError(f"{path}: model type {family!r} is none of {', '.join(FAMILIES)}")
    for part in ("vision_config", "text_config"):
        if not isinstance(data.get(part, {}), dict):
            raise ModelError(f"{path}: {part} is not an object")
    vision = {**_VISION[family], **_given(data.get("vision_config", {}))}
    text = {**_TEXT[family], **_given(data.get("text_config", {}))}
    try:
        return _config(folder, family, data, vision, text)
    except (ConfigError, TypeError, ValueError, ZeroDivisionError) as error:
        if isinstance(error, ModelError):
            raise
        raise ModelError(f"{path}: {error}") from error


def _config(
    folder: Path,
    family: str,
    data: Mapping[str, Any],
    vision: Mapping[str, Any],
    text: Mapping[str, Any],
) -> WordsConfig:
    path = folder / CONFIG_FILE
    width = int(vision["hidden_size"])
    if not vision.get("vision_use_head", True):
        raise ModelError(f"{path}: an image tower without its pooling head gives no vector")
    if int(vision["num_channels"]) != 3:
        raise ModelError(f"{path}: images of {vision['num_channels']} channels are not RGB")
    projected = family == "clip"
    if projected:
        size = text_size = int(data.get("projection_dim", _PROJECTION_DIM))
    else:
        size = width
        text_size = int(text.get("projection_size") or text["hidden_size"])
    if size != text_size:
        raise ModelError(
            f"{path}: the text tower gives {text_size} numbers and the image tower {size}: they do "
            "not belong together"
        )
    side = _side(family, vision)
    return WordsConfig(
        family=family,
        num_layers=int(vision["num_hidden_layers"]),
        backbone=_backbone(family, vision, side, path),
        preprocess=_preprocess(folder, side),
        image_size=width,
        size=size,
        max_tokens=int(text["max_position_embeddings"]),
        vocabulary=int(text["vocab_size"]),
        is_projected=projected,
    )


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}


def _side(family: str, vision: Mapping[str, Any]) -> int:
    """Return the input size of the image tower in pixels."""
    patch = int(vision["patch_size"])
    if family == "siglip2":
        across = math.isqrt(int(vision["num_patches"]))
        if across**2 != int(vision["num_patches"]):
            raise ConfigError(f"{vision['num_patches']} patches make no square")
        return across * patch
    side = int(vision["image_size"])
    if side % patch:
        raise ConfigError(f"images of {side} pixels cannot be divided into patches of {patch}")
    return side


def _backbone(family: str, vision: Mapping[str, Any], side: int, path: Path) -> BackboneConfig:
    """Return the timm model of the same tower, with all its sizes."""
    activation = _ACTIVATIONS.get(str(vision["hidden_act"]))
    if activation is None:
        raise ModelError(f"{path}: activation {vision['hidden_act']!r} is not known here")
    epsilon = {"clip": 1e-5}.get(family, 1e-6)
    if not math.isclose(float(vision["layer_norm_eps"]), epsilon):
        raise ModelError(
            f"{path}: layer_norm_eps is {vision['layer_norm_eps']}, the tower of {family} here has "
            f"{epsilon}"
        )
    width = int(vision["hidden_size"])
    arguments = {
        "img_size": side,
        "patch_size": int(vision["patch_size"]),
        "embed_dim": width,
        "depth": int(vision["num_hidden_layers"]),
        "num_heads": int(vision["num_attention_heads"]),
        "mlp_ratio": int(vision["intermediate_size"]) / width,
        "act_layer": activation,
    }
    name = "vit_base_patch32_clip_224" if family == "clip" else "vit_base_patch16_siglip_224"
    return BackboneConfig(name, arguments)


def _preprocess(folder: Path, side: int) -> PreprocessConfig:
    """Return the preprocessing of the model's image processor; nothing is guessed."""
    path = next((folder / name for name in PREPROCESS_FILES if (folder / name).is_file()), None)
    if path is None:
        raise ModelError(f"{folder}: no {' or '.join(PREPROCESS_FILES)}: how frames are prepared")
    data = read_json(path)
    data = data.get("image_processor", data)
    resampling = data.get("resample", 3)
    if resampling not in _RESAMPLING:
        raise ModelError(f"{path}: resampling {resampling!r} is not known here")
    mean, std = data.get("image_mean"), data.get("image_std")
    if not isinstance(mean, list) or not isinstance(std, list):
        raise ModelError(f"{path}: names no image_mean and image_std")
    size = data.get("size", side)
    shortest = size.get("shortest_edge") if isinstance(size, dict) else None
    crop = bool(data.get("do_center_crop", False))
    if isinstance(size, dict) and shortest is None and "height" in size:
        _check_square(size, side, path)
    return PreprocessConfig(
        size=side,
        resize=max(int(shortest), side) if shortest and crop else side,
        crop="center" if crop else "squash",
        interpolation=_RESAMPLING[resampling],
        mean=tuple(map(float, mean)),
        std=tuple(map(float, std)),
    )


def _check_square(size: Mapping[str, Any], side: int, path: Path) -> None:
    if (size.get("height"), size.get("width")) != (side, side):
        raise ModelError(
            f"{path}: images of {size.get('height')} x {size.get('width')} pixels are not the "
            f"{side} x {side} of the image tower"
        )
