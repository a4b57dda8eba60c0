"""Backbone options: build a frame encoder from a model or from any timm backbone."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from vtnstream.cli.framework.console import Console
from vtnstream.cli.framework.fields import attach, option
from vtnstream.cli.framework.types import AssignmentType, TripleType
from vtnstream.cli.options import running, shared
from vtnstream.config import (
    BackboneConfig,
    ModelConfig,
    PreprocessConfig,
    RuntimeConfig,
    SamplingConfig,
)
from vtnstream.config.model import CROP_MODES, INTERPOLATIONS
from vtnstream.errors import UsageError

if TYPE_CHECKING:
    from vtnstream.encoding.encoder import FrameEncoder
    from vtnstream.encoding.engines.protocols import Encoder

_SECTION = "Backbone"
_PREPROCESS = ("mean", "std", "size", "width", "resize", "crop", "interpolation")
_SIZE = click.IntRange(min=1)
_NATIVE = "[default: the backbone's]"
_RANDOM_SEED = 0
"""Seed of backbones without weights: they are the same in every run, so that their features can
be compared and cached."""


def backbone_source(*, section: str = _SECTION, settable: bool = True) -> tuple[Any, ...]:
    """The options that name a backbone and its weights.

    Args:
        section: title in the help.
        settable: whether configuration files and the environment set them.
    """
    return (
        option(
            "--backbone",
            section=section,
            settable=settable,
            metavar="NAME",
            help="Name of a timm model.",
        ),
        option(
            "--backbone-arg",
            section=section,
            settable=settable,
            type=AssignmentType(),
            multiple=True,
            metavar="KEY=VALUE",
            help="Argument of the timm model, such as pad_type=same; may be repeated.",
        ),
        option(
            "--weights",
            section=section,
            settable=settable,
            metavar="FILE",
            help="Weights of the backbone: a safetensors or pth file, or hf-hub:org/name.",
        ),
        option(
            "--pretrained",
            section=section,
            settable=settable,
            is_flag=True,
            help="Use timm's pretrained weights, from the Hub.",
        ),
    )


backbone_options = attach(
    *backbone_source(),
    *(
        option(f"--{name}", section=_SECTION, type=kind, metavar=metavar, help=text)
        for name, kind, metavar, text in (
            ("mean", TripleType(), "NUMBERS", f"Mean of the colour channels {_NATIVE}."),
            ("std", TripleType(), "NUMBERS", f"Standard deviation of the channels {_NATIVE}."),
            ("size", _SIZE, "PIXELS", f"Height and width of the input frame {_NATIVE}."),
            (
                "width",
                _SIZE,
                "PIXELS",
                "Width of the input frame, if not its height; --crop squash.",
            ),
            (
                "resize",
                _SIZE,
                "PIXELS",
                f"Scale the shorter side to this before the crop {_NATIVE}.",
            ),
            ("crop", click.Choice(CROP_MODES), None, f"How to make a frame square {_NATIVE}."),
            ("interpolation", click.Choice(INTERPOLATIONS), None, f"Scaling method {_NATIVE}."),
        )
    ),
)


@dataclass(frozen=True, slots=True)
class Encoding:
    """A frame encoder and the sampling of its frames.

    Attributes:
        encoder: frames to features.
        sampling: which frames.
        config: of the model that both come from; None if only a backbone was named.
        weights_bytes: bytes of the weights of that model.
    """

    encoder: Encoder
    sampling: SamplingConfig
    config: ModelConfig | None = None
    weights_bytes: int = 0


def prepare_encoding(values: Mapping[str, Any], console: Console) -> Encoding:
    """Build the encoder that ``--model``, or ``--backbone`` and its options, name.

    Raises:
        UsageError: neither is named, or options contradict each other.
        ModelError: the model or backbone cannot be built.
    """
    require_backbone(values)
    runtime = running.runtime_from(values)
    if values["backbone"] is None:
        return _of_model(values, runtime)
    config = BackboneConfig(values["backbone"], dict(values["backbone_arg"]))
    sampling = shared.sampling_from(values, SamplingConfig()) or SamplingConfig()
    return Encoding(_of_backbone(config, values, runtime, console), sampling)


def require_backbone(values: Mapping[str, Any]) -> None:
    """Check that a backbone or a model is named.

    Raises:
        UsageError: neither is named.
    """
    if values["backbone"] is None and values["model"] is None:
        raise UsageError("no backbone: name one with --backbone (a timm model) or --model")


def refuse_backbone_options(values: Mapping[str, Any]) -> None:
    """Check that no option of --backbone is given together with a model.

    Raises:
        UsageError: one is.
    """
    own = [n for n in ("backbone_arg", "weights", "pretrained", *_PREPROCESS) if values[n]]
    if own:
        flag = "--" + own[0].replace("_", "-")
        raise UsageError(f"{flag} needs --backbone: a model has its own, leave {flag} out")


def _of_model(values: Mapping[str, Any], runtime: RuntimeConfig) -> Encoding:
    refuse_backbone_options(values)
    from vtnstream.inference.numpy_model import NumpyModel

    light = NumpyModel.of(values["model"], runtime, None)
    if light is not None:
        sampling = shared.sampling_from(values, light.config.sampling) or light.config.sampling
        return Encoding(light.encoder, sampling, light.config, light.weights_bytes)
    from vtnstream.encoding.encoder import FrameEncoder
    from vtnstream.models.io.checkpoint import load_model
    from vtnstream.words.model import open_words

    words = open_words(values["model"])
    if words is not None:
        from vtnstream.search.space import words_space

        space = words_space(words, runtime, shared.sampling_from(values, None))
        return Encoding(space.encoder, space.sampling)
    model = load_model(values["model"])
    sampling = shared.sampling_from(values, model.config.sampling) or model.config.sampling
    size = sum(tensor.nbytes for tensor in model.state_dict().values())
    return Encoding(FrameEncoder.from_model(model, runtime), sampling, model.config, size)


def _of_backbone(
    config: BackboneConfig, values: Mapping[str, Any], runtime: RuntimeConfig, console: Console
) -> FrameEncoder:
    import torch

    from vtnstream.encoding.encoder import FrameEncoder
    from vtnstream.models.backbone import native_preprocess
    from vtnstream.models.io.installed_weights import find_installed

    preprocess = _preprocess_from(values, native_preprocess(config))
    torch.manual_seed(_RANDOM_SEED)  # right before the weights are drawn
    encoder = FrameEncoder.from_backbone(
        config,
        weights=values["weights"],
        pretrained=values["pretrained"],
        preprocess=preprocess,
        runtime=runtime,
    )
    if encoder.weights_taken:
        console.say(f"weights: {encoder.weights_taken}")
    installed = find_installed(config.name) is not None
    if values["weights"] is None and not values["pretrained"] and not installed:
        console.warn(
            f"{config.name} has random weights (seed {_RANDOM_SEED}), so its features are not "
            "useful: give --weights FILE or --pretrained"
        )
    return encoder


def _preprocess_from(values: Mapping[str, Any], native: PreprocessConfig) -> PreprocessConfig:
    """Return the backbone's own preprocessing, changed by the flags.

    A new ``--size`` keeps the ratio of crop to resized frame.
    """
    changes = {name: values[name] for name in _PREPROCESS if values[name] is not None}
    if "size" in changes and "resize" not in changes:
        changes["resize"] = max(
            changes["size"], round(changes["size"] * native.resize / native.size)
        )
    return dataclasses.replace(native, **changes)
