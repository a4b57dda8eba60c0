"""Make options from the fields of config dataclasses, or on their own."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeVar

import click

from vtnstream.cli.framework.command import Option
from vtnstream.cli.framework.types import RateType
from vtnstream.config import PreprocessConfig, RuntimeConfig, TimelineConfig
from vtnstream.config.model import CROP_MODES, INTERPOLATIONS
from vtnstream.config.runtime import BACKENDS, DECODERS, DTYPES
from vtnstream.config.timeline import LOCALIZE, NMS, SMOOTHING

_F = TypeVar("_F", bound=Callable[..., Any])

_CHOICES: Mapping[tuple[type, str], Sequence[str]] = {
    (RuntimeConfig, "backend"): BACKENDS,
    (RuntimeConfig, "decoder"): DECODERS,
    (RuntimeConfig, "dtype"): DTYPES,
    (TimelineConfig, "localize"): LOCALIZE,
    (TimelineConfig, "smoothing"): SMOOTHING,
    (TimelineConfig, "nms"): NMS,
    (PreprocessConfig, "crop"): CROP_MODES,
    (PreprocessConfig, "interpolation"): INTERPOLATIONS,
}
_METAVARS: Mapping[Any, str] = {int: "N", float: "X"}
_TYPES: Mapping[Any, Any] = {Fraction: RateType(), Path: click.Path(path_type=Path)}


def field(config: type, name: str, *flags: str, section: str, **attributes: Any) -> Option:
    """Make an option for one field of a config dataclass, with its default, type and choices."""
    default = next(f.default for f in dataclasses.fields(config) if f.name == name)
    hint = typing.get_type_hints(config)[name]
    if isinstance(hint, types.UnionType):
        hint = next(part for part in typing.get_args(hint) if part is not type(None))
    kind = _TYPES.get(hint, hint)
    if choices := _CHOICES.get((config, name)):
        kind = click.Choice(list(choices))
    attributes.setdefault("type", kind)
    if hint is bool:
        attributes.pop("type")
        attributes.setdefault("is_flag", True)
    if hint in _METAVARS and attributes.get("metavar") is None:
        attributes["metavar"] = _METAVARS[hint]
    attributes.setdefault("show_default", default is not None and hint is not bool)
    declared = flags or ("--" + name.replace("_", "-"),)
    return Option([_name_of(declared), *declared], default=default, section=section, **attributes)


def _name_of(flags: Sequence[str]) -> str:
    """Return the parameter name of an option: its first long flag, so that config keys equal
    flags."""
    long = next(flag for flag in flags if flag.startswith("--"))
    return long.partition("/")[0].lstrip("-").replace("-", "_")


def option(*flags: str, section: str, **attributes: Any) -> Option:
    """Make an option that is not a field of a config dataclass."""
    return Option([_name_of(flags), *flags], section=section, **attributes)


def attach(*params: click.Parameter) -> Callable[[_F], _F]:
    """Return a decorator that adds these parameters to a command, in this order."""

    def decorate(function: _F) -> _F:
        own = getattr(function, "__click_params__", [])
        function.__click_params__ = [*own, *reversed(params)]  # type: ignore[attr-defined]
        return function

    return decorate
