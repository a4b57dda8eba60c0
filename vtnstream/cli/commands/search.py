"""``vtnstream search``: find moments of videos in words or by an example."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any

import click

from vtnstream.cli.commands.index import library
from vtnstream.cli.delivery import make_delivery
from vtnstream.cli.framework.command import Command
from vtnstream.cli.framework.console import Console
from vtnstream.cli.framework.exit_codes import ExitCode
from vtnstream.cli.framework.fields import attach, field, option
from vtnstream.cli.framework.process_settings import loading
from vtnstream.cli.framework.progress import CommandProgress, make_progress
from vtnstream.cli.library_search import search_in_library
from vtnstream.cli.options import running, shared
from vtnstream.cli.options.backbone import backbone_options
from vtnstream.cli.options.input_list import require_one_video, resolve
from vtnstream.cli.options.labels import part_from
from vtnstream.cli.pictures import thumbnails_option
from vtnstream.cli.session import deliver_each
from vtnstream.config.search import SearchConfig
from vtnstream.errors import UsageError
from vtnstream.suffixes import IMAGE_SUFFIXES, VIDEO_SUFFIXES
from vtnstream.words.queries import Label, check_labels, parse_example, parse_label

if TYPE_CHECKING:
    from vtnstream.types import QueryAnswer, Report

_EXAMPLES = """
vtnstream search "a dog runs" movie.mkv
vtnstream search "a goal" match1.mp4 match2.mp4 -e "a corner kick" -k 5 --json
vtnstream search "a goal" --library archive
vtnstream search --like goal.jpg match.mp4 --backbone mobilenetv3_large_100.ra_in1k --pretrained
vtnstream search --like match1.mp4@12:30-12:41 match2.mp4 --model models/match
vtnstream search --like shot.png recordings/ --recursive -k 3 --model models/match --jsonl
"""
_SECTION = "Search"
_MOST_NAMED = 5


@click.command(cls=Command, examples=_EXAMPLES)
@shared.inputs
@attach(
    option(
        "--query",
        "-e",
        section=_SECTION,
        settable=False,
        multiple=True,
        metavar="TEXT",
        help="Query, as TEXT or name = prompt | prompt | @example; may be repeated.",
    ),
    option(
        "--like",
        section=_SECTION,
        settable=False,
        multiple=True,
        metavar="EXAMPLE",
        help="Find what looks like an image, a video, or VIDEO@START-END; may be repeated.",
    ),
    field(
        SearchConfig,
        "max_segments",
        "--max-segments",
        "-k",
        section=_SECTION,
        help="Largest number of segments per query and video, best first.",
    ),
    field(
        SearchConfig,
        "min_score",
        section=_SECTION,
        help="Lowest match of a segment; below 0.5 a query counts as not found.",
    ),
    field(
        SearchConfig,
        "smoothing_seconds",
        "--smooth",
        section=_SECTION,
        metavar="SECONDS",
        help="Time over which matches are averaged, but not across a gap.",
    ),
    field(
        SearchConfig,
        "min_duration",
        section=_SECTION,
        metavar="SECONDS",
        help="Drop shorter segments.",
    ),
)
@attach(library, thumbnails_option)
@shared.model_or("siglip2-base")
@backbone_options
@shared.features
@shared.time_range
@shared.sampling("the model's own; with --backbone 2")
@shared.results
@running.runtime
@running.messages
@click.pass_obj
def search(console: Console, /, **values: Any) -> ExitCode:
    """Find the moments of INPUTS that match QUERY or look like an example.

    The first argument is the query, unless --like or --query is given: vtnstream search QUERY
    INPUTS..., vtnstream search --like EXAMPLE INPUTS... One query with --like finds moments that
    match both. Words need an image-text model (see models list); examples work with any backbone.

    The result is a ranked list of segments. If a video has no match ("nothing found"), the exit
    code is still 0. Features are stored, so that the next query decodes nothing.
    """
    queries, names = _queries(values)
    if values["library"] is not None:
        return search_in_library(console, values, queries, names, _search_config(values))
    inputs = resolve({**values, "inputs": names})
    require_one_video(values, inputs)
    config = _search_config(values)
    delivery = make_delivery(values, console, inputs, timeline=True)
    runtime = running.runtime_from(values)
    with loading():
        from vtnstream.cli.options.space import prepare_space
        from vtnstream.search.searcher import Searcher

        space = prepare_space(values, console)
    with closing(make_progress(console)) as progress:
        searcher = Searcher(space, queries, runtime=runtime, progress=progress)
    part = part_from(values)
    answers: dict[str, list[tuple[str, QueryAnswer]]] = {}

    def ask(path: str, progress: CommandProgress) -> Report:
        report = searcher.search(path, config, part, progress=progress)
        for answer in report.answers:
            answers.setdefault(answer.label, []).append((path, answer))
        return report

    code = deliver_each(inputs, ask, delivery, console)
    for line in in_order(answers):
        console.say(line)
    return code


def in_order(answers: Mapping[str, Sequence[tuple[str, QueryAnswer]]]) -> Iterator[str]:
    """For each query, the videos with the best matches, where there are several."""
    for label, found in answers.items():
        if len(found) < 2:
            continue
        ranked = sorted(found, key=lambda item: (-item[1].match, -item[1].order))
        shown = [f"{path} ({answer.match:.1%})" for path, answer in ranked[:_MOST_NAMED]]
        more = "" if len(ranked) <= _MOST_NAMED else f" and {len(ranked) - _MOST_NAMED} more"
        absent = "" if any(answer.found for _, answer in found) else "nothing found, "
        yield f"{label}: {absent}best match first: {', '.join(shown)}{more}"


def _search_config(values: Mapping[str, Any]) -> SearchConfig:
    """Return the options of a search as their dataclass."""
    return SearchConfig(
        max_segments=values["max_segments"],
        min_score=values["min_score"],
        smoothing_seconds=values["smooth"],
        min_duration=values["min_duration"],
    )


def _queries(values: Mapping[str, Any]) -> tuple[tuple[Label, ...], Sequence[str]]:
    """Return the queries of a command line and its inputs.

    Raises:
        UsageError: there is no query.
    """
    names: Sequence[str] = values["inputs"]
    texts: list[str] = []
    may_be_input = bool(values["like"] or values["query"] or values["library"])
    alone = len(names) == 1 and values["library"] is None
    if names and not _is_input(names[0], may_be_input=may_be_input, alone=alone):
        _refuse_file(names[0])
        texts, names = [names[0]], names[1:]
    queries = [_query(text) for text in (*texts, *values["query"])]
    examples = tuple(parse_example(text) for text in values["like"])
    if not queries and not examples:
        raise UsageError(
            "no query: write it before the videos, or name an image, a video or VIDEO@START-END "
            "with --like"
        )
    if len(queries) == 1 and examples:
        queries = [Label(queries[0].name, queries[0].prompts, queries[0].examples + examples)]
    else:
        queries += [Label(os.path.basename(str(one)), (), (one,)) for one in examples]
    check_labels(tuple(queries), "search")
    return tuple(queries), names


def _refuse_file(text: str) -> None:
    """
    Raises:
        UsageError: the query names an image or a video that exists.
    """
    suffix = os.path.splitext(text)[1].lower()
    if suffix in IMAGE_SUFFIXES | VIDEO_SUFFIXES and os.path.isfile(text):
        raise UsageError(f"{text} is a file, not words: write --like {text} to search for it")


def _query(text: str) -> Label:
    if not text.strip():
        raise UsageError("the query is empty: write what to look for")
    return parse_label(text)


def _is_input(first: str, *, may_be_input: bool, alone: bool) -> bool:
    """Return whether the first name is an input rather than the query.

    Args:
        first: the name.
        may_be_input: whether an option gives a query too, or a library replaces the inputs.
        alone: whether there is no second name but an input is needed.
    """
    if not may_be_input:
        return alone and os.path.lexists(first)
    known = os.path.lexists(first) or first == "-" or "://" in first or "*" in first
    return known or alone or os.path.splitext(first)[1].lower() in VIDEO_SUFFIXES
