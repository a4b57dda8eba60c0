"""Convert the config files of a ViViT folder of transformers to a model config."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from vtnstream.config import (
    BackboneConfig,
    HeadConfig,
    ModelConfig,
    PreprocessConfig,
    SamplingConfig,
    ViViTConfig,
)
from vtnstream.config.loading import from_dict
from vtnstream.errors import ConfigError, UsageError
from vtnstream.models.io.json_file import one_line, read_json
from vtnstream.registry import lookup

CONFIG_FILE = "config.json"
PREPROCESS_FILES = ("preprocessor_config.json", "video_preprocessor_config.json")
_NORM_EPS = 1e-6

_ACTIVATIONS = {
    "gelu": "gelu",
    "gelu_fast": "gelu_tanh",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "quick_gelu": "quick_gelu",
    "relu": "relu",
    "silu": "silu",
}
"""Names of activations in transformers -> names in timm."""

_FILTERS = {"1": "lanczos", "2": "bilinear", "3": "bicubic", "4": "area"}
"""PIL's numbers of resampling filters -> names; its box filter averages the area."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The fields of ``VivitConfig`` in transformers that shape the model, with their defaults.

    Attributes:
        labels: in the order of their numbers; empty if the config has none.
    """

    labels: tuple[str, ...] = ()
    problem_type: str | None = None
    image_size: int = 224
    num_frames: int = 32
    tubelet_size: tuple[int, ...] = (2, 16, 16)
    num_channels: int = 3
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    hidden_act: str = "gelu_fast"
    hidden_dropout_prob: float = 0.0
    attention_probs_dropout_prob: float = 0.0
    layer_norm_eps: float = _NORM_EPS
    qkv_bias: bool = True

    def __post_init__(self) -> None:
        if self.num_channels != 3 or self.layer_norm_eps != _NORM_EPS:
            raise ConfigError(
                f"num_channels {self.num_channels} and layer_norm_eps {self.layer_norm_eps}: "
                f"only 3 and {_NORM_EPS} are supported"
            )
        if len(self.tubelet_size) != 3 or min(self.tubelet_size) < 1:
            raise ConfigError("tubelet_size has three positive numbers")
        for name in ("image_size", "num_frames", "hidden_size", "num_attention_heads"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be positive")

    @property
    def num_places(self) -> int:
        """Number of tubelets of a clip."""
        length, height, width = self.tubelet_size
        side = self.image_size
        return self.num_frames // length * (side // height) * (side // width)


def read_settings(folder: Path) -> Settings:
    """Return the settings of a folder's ``config.json``. Fields that do not shape the model are
    ignored.

    Raises:
        ModelError: it cannot be read.
        ConfigError: a value is wrong or not supported.
    """
    path = folder / CONFIG_FILE
    data = read_json(path)
    known = {field.name for field in fields(Settings)}
    given = {name: value for name, value in data.items() if name in known}
    try:
        if "image_size" in given:
            given["image_size"] = _square(given["image_size"], "image_size")
        given["labels"] = _in_order(data.get("id2label") or {})
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
    return from_dict(Settings, given, where=str(path))


def _in_order(named: Any) -> list[str]:
    try:
        numbers = {int(number): str(label) for number, label in dict(named).items()}
    except (TypeError, ValueError) as error:
        raise ConfigError(f"id2label is not a table of numbers ({one_line(error)})") from error
    if sorted(numbers) != list(range(len(numbers))):
        raise ConfigError("id2label does not count its labels from 0")
    return [numbers[number] for number in range(len(numbers))]


def model_config(folder: Path, settings: Settings) -> ModelConfig:
    """Return the model config for these settings. The published models were trained on every
    second frame at 25 frames/s, so the sampling does the same.

    Raises:
        ConfigError: the settings need something that this ViViT does not have.
    """
    length, height, width = settings.tubelet_size
    try:
        vivit = ViViTConfig(
            form="joint", tubelet=(length, height, width), num_frames=settings.num_frames
        )
        return ModelConfig(
            name=folder.resolve().name,
            architecture="vivit",
            sampling=SamplingConfig(fps=1 / (length * vivit.frame_step)),
            preprocess=_preprocess(folder, settings.image_size),
            backbone=BackboneConfig("vit_base_patch16_224", _arguments(settings)),
            vivit=vivit,
            head=HeadConfig(
                labels=settings.labels,
                dropout=0.0,
                multi_label=settings.problem_type == "multi_label_classification",
            ),
        )
    except UsageError as error:
        raise ConfigError(f"{folder}: {error}") from error


def _arguments(settings: Settings) -> dict[str, Any]:
    """Return timm's arguments for these settings, without those that equal the defaults of
    ViT-B."""
    _, height, width = settings.tubelet_size
    hidden, inner = settings.hidden_size, settings.intermediate_size
    ratio = inner / hidden
    if int(hidden * ratio) != inner:
        ratio = math.nextafter(ratio, math.inf)
    chosen = {
        "img_size": (settings.image_size, 224),
        "patch_size": (height if height == width else [height, width], 16),
        "embed_dim": (hidden, 768),
        "depth": (settings.num_hidden_layers, 12),
        "num_heads": (settings.num_attention_heads, 12),
        "mlp_ratio": (ratio, 4.0),
        "act_layer": (lookup(_ACTIVATIONS, settings.hidden_act, "hidden_act"), "gelu"),
        "qkv_bias": (settings.qkv_bias, True),
        "pos_drop_rate": (settings.hidden_dropout_prob, 0.0),
        "proj_drop_rate": (settings.hidden_dropout_prob, 0.0),
        "attn_drop_rate": (settings.attention_probs_dropout_prob, 0.0),
    }
    return {name: value for name, (value, own) in chosen.items() if value != own}


def _preprocess(folder: Path, size: int) -> PreprocessConfig:
    """Return the preprocessing equal to the ViViT processor of transformers: scale, crop,
    ``pixel * rescale_factor - 1`` (``offset``), then ``(x - image_mean) / image_std``.

    A folder without settings gets the paper's: pixels from -1 to 1 and a centre crop.
    """
    path = next((folder / name for name in PREPROCESS_FILES if (folder / name).is_file()), None)
    if path is None:
        half = (0.5, 0.5, 0.5)
        resize = round(size * 256 / 224)
        return PreprocessConfig(
            size, resize, interpolation="bilinear", mean=half, std=half, crop_rounding="floor"
        )
    given = read_json(path)
    try:
        scale, shift = 1.0, 0.0
        if given.get("do_rescale", True):
            scale = float(given.get("rescale_factor", 1 / 127.5))
            shift = 1.0 if given.get("offset", True) else 0.0
        mean, std = _three_numbers(0.0), _three_numbers(1.0)
        if given.get("do_normalize", True):
            mean = _three_numbers(given.get("image_mean") or 0.5)
            std = _three_numbers(given.get("image_std") or 0.5)
        resize, crop = _geometry(given, size)
        return PreprocessConfig(
            size=size,
            resize=resize,
            crop=crop,
            interpolation=lookup(_FILTERS, str(given.get("resample", 2)), "resample"),
            crop_rounding="floor",
            mean=tuple((shift + m) / (255 * scale) for m in mean),
            std=tuple(s / (255 * scale) for s in std),
        )
    except UsageError as error:
        raise ConfigError(f"{path.name}: {error}") from error
    except (TypeError, ValueError, KeyError, ZeroDivisionError) as error:
        raise ConfigError(f"{path.name}: not usable ({one_line(error)})") from error


def _geometry(given: Mapping[str, Any], size: int) -> tuple[int, str]:
    """Return ``resize`` and ``crop`` of a :class:`PreprocessConfig` with final size ``size``."""
    if not given.get("do_resize", True):
        raise ConfigError("do_resize false: videos have different sizes, so frames must be scaled")
    target = given.get("size") or {"shortest_edge": 256}
    if isinstance(target, int):
        target = {"shortest_edge": target}
    crops = given.get("do_center_crop", True)
    cut = _square(given.get("crop_size") or 224, "crop_size") if crops else None
    if cut is not None and cut != size:
        raise ConfigError(f"crop_size {cut} is not the {size} pixels that the model sees")
    if "shortest_edge" in target:
        if not crops:
            raise ConfigError("do_center_crop false with shortest_edge: frames would not be square")
        return int(target["shortest_edge"]), "center"
    whole = _square(target, "size")
    if not crops and whole != size:
        raise ConfigError(f"size {whole} is not the {size} pixels that the model sees")
    return whole, "squash"


def _square(value: Any, name: str) -> int:
    """Return the side of a square from a number, a pair, or a table of height and width."""
    try:
        if isinstance(value, Mapping):
            value = (value["height"], value["width"])
        sides = value if isinstance(value, (list, tuple)) else (value, value)
        height, width = (int(side) for side in sides)
    except (TypeError, ValueError, KeyError) as error:
        raise ConfigError(f"{name} {value!r} is not a size") from error
    if height != width:
        raise ConfigError(f"{name} {height} x {width}: only squares are supported")
    return height


def _three_numbers(value: Any) -> tuple[float, ...]:
    numbers = value if isinstance(value, (list, tuple)) else (value,) * 3
    return tuple(float(number) for number in numbers)
