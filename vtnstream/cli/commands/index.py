"""``vtnstream index``: keep a library of many videos in step with their files."""

from __future__ import annotations

import json
import os
from collections import Counter
from typing import TYPE_CHECKING, Any

import click

from vtnstream.cli.framework.command import Command
from vtnstream.cli.framework.console import Console
from vtnstream.cli.framework.exit_codes import ExitCode
from vtnstream.cli.framework.fields import attach, option
from vtnstream.cli.framework.process_settings import loading
from vtnstream.cli.framework.progress import CommandProgress
from vtnstream.cli.options import running, shared
from vtnstream.cli.options.backbone import backbone_options
from vtnstream.cli.options.input_list import resolve
from vtnstream.cli.session import for_each
from vtnstream.wording import plural

if TYPE_CHECKING:
    from vtnstream.types import Partial

_EXAMPLES = """
vtnstream index recordings/ --recursive --library archive
vtnstream index match1.mp4 match2.mp4 --library s3://bucket/matches --model clip-vit-l14
vtnstream search "a goal" --library archive
"""

library = option(
    "--library",
    section="Library",
    metavar="NAME",
    help="Library in the user's cache, or a folder or address (s3://...) of one.",
)


@click.command(cls=Command, examples=_EXAMPLES)
@shared.inputs
@attach(library)
@shared.model_or("siglip2-base")
@backbone_options
@shared.sampling("the model's own; with --backbone 2")
@shared.as_json
@running.runtime
@running.messages
@click.pass_obj
def index(console: Console, /, **values: Any) -> ExitCode:
    """Add the videos of INPUTS to a library for `search --library`.

    Only new and changed videos are read, and videos that no longer exist in a directory of INPUTS
    are removed. Run the same command again to resume an interrupted run: a video is added as a
    whole or not at all. Several commands may write to one library at the same time.
    """
    from vtnstream.errors import UsageError

    if values["library"] is None:
        raise UsageError("no library: name one with --library NAME")
    inputs = resolve(values)
    runtime = running.runtime_from(values)
    with loading():
        from vtnstream.cli.options.space import prepare_space
        from vtnstream.library.indexing import Indexer, about_space
        from vtnstream.library.store import LibraryStore
        from vtnstream.words.published import DEFAULT_WORDS

        space = prepare_space(values, console)
        model = values["model"] or ("" if values["backbone"] else DEFAULT_WORDS)
        store = LibraryStore(values["library"], about_space(space, model))
        indexer = Indexer(space, store, runtime)
    counts: Counter[str] = Counter()

    def work(path: str, progress: CommandProgress) -> Partial | None:
        done, partial = indexer.index(path, progress)
        counts[done] += 1
        console.note(f"{path}: {done}")
        return partial

    code = for_each(inputs, work, console)
    removed = indexer.remove_deleted([n for n in values["inputs"] if os.path.isdir(n)])
    store.clean()
    done = store.maintain()
    if done is not None:
        console.say(done)
    total = store.videos()
    vectors = sum(row.tokens for row in total.values())
    if values["json"]:
        document = {
            "library": store.name,
            **{name: counts[name] for name in ("added", "changed", "unchanged")},
            "removed": len(removed),
            "videos": len(total),
            "vectors": vectors,
            "indexed": store.is_indexed,
        }
        console.out(json.dumps(document, indent=2))
    else:
        parts = [f"{counts[name]} {name}" for name in ("added", "changed", "unchanged")]
        console.out(
            f"library {store.name}: {', '.join(parts)}, {len(removed)} removed; "
            f"{plural(len(total), 'video')}, {plural(vectors, 'vector')}"
        )
    return code
