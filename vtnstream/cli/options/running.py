"""Options of how a command runs, whatever it is asked: device, precision, cache, network, and
what it says meanwhile."""

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

PROGRESS_KINDS = ("auto", "rich", "plain", "none")

cache_dir = field(
    RuntimeConfig,
    "cache_dir",
    section="Run",
    metavar="DIR",
    help="Where features are kept [default: the user's cache].",
)
_RUNTIME = (
    field(
        RuntimeConfig, "device", section="Run", metavar="NAME", help="auto, cpu, cuda or cuda:N."
    ),
    field(
        RuntimeConfig,
        "dtype",
        section="Run",
        help="Compute type; auto is bfloat16 where the device is fast at it, else float32.",
    ),
    field(
        RuntimeConfig,
        "backend",
        section="Run",
        help="What runs the backbone; auto compiles it where that pays.",
    ),
    field(
        RuntimeConfig,
        "decoder",
        section="Run",
        help="What reads the video; auto is the GPU that runs the backbone, where it can.",
    ),
    field(
        RuntimeConfig,
        "batch_size",
        section="Run",
        help="Frames a backbone call [default: what is fast here].",
    ),
    cache_dir,
    field(
        RuntimeConfig,
        "use_cache",
        "--cache/--no-cache",
        section="Run",
        help="Keep features for the next command.",
    ),
    field(
        RuntimeConfig,
        "cache_limit_bytes",
        "--cache-limit",
        section="Run",
        type=SizeType(),
        show_default=False,
        help="Above this size the least recently used features go "
        f"[default: {format_size(RuntimeConfig().cache_limit_bytes)}].",
    ),
    field(
        RuntimeConfig,
        "spool_limit_bytes",
        "--spool-limit",
        section="Run",
        type=SizeType(),
        show_default=False,
        help="Longest temporary copy of a video from a pipe, or a server that gives no parts "
        f"[default: {format_size(RuntimeConfig().spool_limit_bytes)}].",
    ),
    field(
        RuntimeConfig,
        "threads",
        section="Run",
        help="Processor cores for the model [default: all].",
    ),
)
offline = option(
    "--offline",
    section="Run",
    is_flag=True,
    help="No network: models and weights from the cache or not at all.",
)
runtime = attach(*_RUNTIME, offline)


def runtime_from(values: Mapping[str, Any]) -> RuntimeConfig:
    """The runtime options as their dataclass."""
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


speech = attach(
    option(
        "--progress",
        section="Run",
        type=click.Choice(PROGRESS_KINDS),
        default="auto",
        show_default=True,
        help="How progress is shown on standard error.",
    ),
    option("--quiet", "-q", section="Run", is_flag=True, help="Only errors on standard error."),
    option("--verbose", "-v", section="Run", count=True, help="Say more; twice for still more."),
    option(
        "--log-file",
        section="Run",
        type=click.Path(dir_okay=False, path_type=Path),
        metavar="FILE",
        help="Append every message with its time, whatever -q and -v say.",
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
        help="Config file in place of vtnstream.toml.",
    ),
)
