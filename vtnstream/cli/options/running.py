"""Options that control how a command runs: device, precision, cache, network and messages."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from vtnstream.cli.framework.command import Option
from vtnstream.cli.framework.fields import attach, field, option
from vtnstream.cli.framework.settings import load_settings
from vtnstream.cli.framework.types import SizeType, format_size
from vtnstream.config import RuntimeConfig

_PROGRESS_KINDS = ("auto", "rich", "plain", "none")

cache_dir = field(
    RuntimeConfig,
    "cache_dir",
    section="Run",
    metavar="DIR",
    help="Directory of stored features [default: the user's cache].",
)
_RUNTIME = (
    field(
        RuntimeConfig,
        "device",
        section="Run",
        metavar="NAME",
        help="Device of the model: auto, cpu, cuda or cuda:N.",
    ),
    field(
        RuntimeConfig,
        "dtype",
        section="Run",
        help="Precision; auto is float32 in numpy, in torch bfloat16 if the device is fast at it.",
    ),
    field(
        RuntimeConfig,
        "backend",
        section="Run",
        help="Runtime; auto is numpy for the bundled model on a CPU, else torch, compiled if that "
        "saves time.",
    ),
    field(
        RuntimeConfig,
        "decoder",
        section="Run",
        help="Video decoder; auto uses NVDEC if the backbone runs on that GPU.",
    ),
    field(
        RuntimeConfig,
        "batch_size",
        section="Run",
        help="Frames per backbone call [default: chosen for the device].",
    ),
    cache_dir,
    field(
        RuntimeConfig,
        "use_cache",
        "--cache/--no-cache",
        section="Run",
        help="Use and store features in the cache.",
    ),
    field(
        RuntimeConfig,
        "cache_limit_bytes",
        "--cache-limit",
        section="Run",
        type=SizeType(),
        show_default=False,
        help="Size of the cache above which the least recently used features are removed "
        f"[default: {format_size(RuntimeConfig().cache_limit_bytes)}].",
    ),
    field(
        RuntimeConfig,
        "spool_limit_bytes",
        "--spool-limit",
        section="Run",
        type=SizeType(),
        show_default=False,
        help="Largest temporary copy of a video from a pipe or a server without range requests "
        f"[default: {format_size(RuntimeConfig().spool_limit_bytes)}].",
    ),
    field(
        RuntimeConfig,
        "threads",
        section="Run",
        help="CPU threads of the model [default: all cores].",
    ),
)
offline = option(
    "--offline",
    section="Run",
    is_flag=True,
    help="Use no network: models and weights must be in the cache.",
)
runtime = attach(*_RUNTIME, offline)


def runtime_from(values: Mapping[str, Any]) -> RuntimeConfig:
    """Return the runtime options as their dataclass."""
    return RuntimeConfig(
        device=values["device"],
        dtype=values["dtype"],
        backend=values["backend"],
        decoder=values["decoder"],
        batch_size=values["batch_size"],
        cache_dir=values["cache_dir"],
        use_cache=values["cache"],
        cache_limit_bytes=values["cache_limit"],
        spool_limit_bytes=values["spool_limit"],
        threads=values["threads"],
    )


messages = attach(
    option(
        "--progress",
        section="Run",
        type=click.Choice(_PROGRESS_KINDS),
        default="auto",
        show_default=True,
        help="Progress display on standard error.",
    ),
    option("--quiet", "-q", section="Run", is_flag=True, help="Print errors only."),
    option("--verbose", "-v", section="Run", count=True, help="Print more; -vv prints still more."),
    option(
        "--log-file",
        section="Run",
        type=click.Path(dir_okay=False, path_type=Path),
        metavar="FILE",
        help="Append all messages with their time to FILE, regardless of -q and -v.",
    ),
    option("--debug", section="Run", is_flag=True, help="Show tracebacks."),
    Option(
        ["--config"],
        section="Run",
        settable=False,
        is_eager=True,
        expose_value=False,
        callback=load_settings,
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Read this config file instead of vtnstream.toml.",
    ),
)
