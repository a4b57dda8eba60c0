"""``vtnstream cache``: list and prune stored features and compiled engines."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import click

from vtnstream.cli.framework.command import Command
from vtnstream.cli.framework.console import Console
from vtnstream.cli.framework.fields import attach, option
from vtnstream.cli.framework.tables import print_table
from vtnstream.cli.framework.types import SizeType, format_size
from vtnstream.cli.options import running, shared
from vtnstream.config import RuntimeConfig
from vtnstream.wording import plural

if TYPE_CHECKING:
    from vtnstream.encoding.engines.cache import EngineCache
    from vtnstream.features.cache import CacheEntry, FeatureCache


@click.group()
def cache() -> None:
    """List and prune stored features.

    vtnstream stores the features of every video it reads, so that the next command on that video
    decodes nothing. Above a size limit it removes the least recently used features first.
    """


@cache.command(
    "list",
    cls=Command,
    examples="vtnstream cache list\nvtnstream cache list --json | jq '.[].video'",
)
@shared.as_json
@attach(running.cache_dir)
@running.messages
@click.pass_obj
def list_(console: Console, /, **values: Any) -> None:
    """List stored features, least recently used first."""
    entries = _cache(values).entries()
    if values["json"]:
        console.out(json.dumps([_plain(entry) for entry in entries], indent=2))
        return
    headers = ("last used", "size", "chunks", "whole", "backbone", "sampling", "video")
    rows = [
        (
            time.strftime("%Y-%m-%d %H:%M", time.localtime(entry.last_used)),
            format_size(entry.size_bytes),
            str(entry.num_chunks),
            "yes" if entry.complete else "no",
            entry.backbone,
            " ".join(str(value) for value in entry.sampling.values()),
            entry.video_path or "?",
        )
        for entry in entries
    ]
    if rows:
        print_table(console, headers, rows, right=("size", "chunks"), key="video")
    total = sum(entry.size_bytes for entry in entries)
    stores = plural(len(entries), "feature store")
    console.say(f"{stores}, {format_size(total)}, in {_cache(values).root}")
    engines = _engines(values).entries()
    size = sum(size for _, size, _ in engines)
    console.say(f"{plural(len(engines), 'compiled engine')}, {format_size(size)}")


@cache.command(
    "prune",
    cls=Command,
    examples="vtnstream cache prune --limit 5G\nvtnstream cache prune --all",
)
@attach(
    option(
        "--limit",
        section="Prune",
        type=SizeType(),
        metavar="SIZE",
        default=RuntimeConfig().cache_limit_bytes,
        help=f"Keep at most this much [default: {format_size(RuntimeConfig().cache_limit_bytes)}].",
    ),
    option(
        "--all",
        section="Prune",
        is_flag=True,
        settable=False,
        help="Remove all features and compiled engines.",
    ),
)
@shared.as_json
@attach(running.cache_dir)
@running.messages
@click.pass_obj
def prune(console: Console, /, **values: Any) -> None:
    """Remove stored features, least recently used first; features in use are kept."""
    cache_ = _cache(values)
    removed = cache_.prune(-1 if values["all"] else values["limit"])
    freed, kept = sum(entry.size_bytes for entry in removed), len(cache_.entries())
    if values["all"]:
        freed += _engines(values).prune(-1)
    if values["json"]:
        document = {"removed": [_plain(e) for e in removed], "freed_bytes": freed, "kept": kept}
        console.out(json.dumps(document, indent=2))
    else:
        stores = plural(len(removed), "feature store")
        console.out(f"removed {stores} ({format_size(freed)}), kept {kept}")


def _cache(values: dict[str, Any]) -> FeatureCache:
    from vtnstream.config.runtime import default_cache_dir
    from vtnstream.features.cache import FeatureCache

    return FeatureCache(values["cache_dir"] or default_cache_dir())


def _engines(values: dict[str, Any]) -> EngineCache:
    from vtnstream.config.runtime import default_cache_dir
    from vtnstream.encoding.engines.cache import EngineCache

    return EngineCache(values["cache_dir"] or default_cache_dir())


def _plain(entry: CacheEntry) -> dict[str, Any]:
    return {
        "directory": str(entry.directory),
        "video": entry.video_path,
        "size_bytes": entry.size_bytes,
        "last_used": entry.last_used,
        "num_chunks": entry.num_chunks,
        "complete": entry.complete,
        "backbone": entry.backbone,
        "sampling": entry.sampling,
    }
