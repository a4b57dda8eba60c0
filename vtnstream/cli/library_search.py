"""``vtnstream search --library``: one query across many videos."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any

from vtnstream.batch.manifest import Input, InputList
from vtnstream.cli.delivery import make_delivery
from vtnstream.cli.framework.console import Console
from vtnstream.cli.framework.exit_codes import ExitCode
from vtnstream.cli.framework.process_settings import loading
from vtnstream.cli.framework.progress import make_progress
from vtnstream.cli.options import running
from vtnstream.config.search import SearchConfig
from vtnstream.errors import UsageError

if TYPE_CHECKING:
    from vtnstream.words.queries import Label

_OF_VIDEOS = ("features", "start", "end", "stream", "fps", "num_frames", "frame_stride", "sample")


def search_in_library(
    console: Console,
    values: Mapping[str, Any],
    queries: Sequence[Label],
    names: Sequence[str],
    config: SearchConfig,
) -> ExitCode:
    """Search a library and deliver one report per video with a match.

    Raises:
        UsageError: videos are named too, or options of single videos are given.
    """
    if names or values["files_from"]:
        raise UsageError("--library replaces the videos: leave them out")
    given = [name for name in _OF_VIDEOS if values[name] is not None]
    if given:
        flag = "--" + given[0].replace("_", "-")
        raise UsageError(f"{flag} cannot be used with --library: give it to vtnstream index")
    runtime = running.runtime_from(values)
    with loading():
        from vtnstream.cli.options.space import prepare_space
        from vtnstream.library.indexing import about_space
        from vtnstream.library.searching import search_library
        from vtnstream.library.store import LibraryStore
        from vtnstream.search.vectors import make_vectors

        store = LibraryStore(values["library"])
        chosen = dict(values)
        if values["model"] is None and values["backbone"] is None:
            if not store.about.model:
                raise UsageError(
                    f"library {store.name}: was made with a backbone: name it again with --backbone"
                )
            chosen["model"] = store.about.model
        space = prepare_space(chosen, console)
        found = about_space(space, chosen["model"])
        if found.weights_sha256 != store.about.weights_sha256:
            raise UsageError(
                f"library {store.name}: holds vectors of another model "
                f"({store.about.model or 'a backbone'}): ask with that one"
            )
    with closing(make_progress(console)) as progress:
        vectors = make_vectors(space, queries, runtime, progress)
    reports = search_library(store, vectors, config)
    inputs = InputList(tuple(Input(report.input) for report in reports), False)
    shown = {answer.label for report in reports for answer in report.answers}
    absent = [query.name for query in queries if query.name not in shown]
    with make_delivery(values, console, inputs, timeline=True) as delivery:
        for report in reports:
            delivery.begin(report.input)
            delivery.deliver(report)
        if absent:
            delivery.absent(store.name, absent)
    return ExitCode.OK
