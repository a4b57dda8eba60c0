"""``timeline --follow``: print the segments of one stream as events while it arrives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from vtnstream.cli.analysis import request_from
from vtnstream.cli.framework.console import Console
from vtnstream.cli.framework.exit_codes import ExitCode
from vtnstream.cli.framework.fields import attach, field, option
from vtnstream.cli.framework.interrupts import INTERRUPTS
from vtnstream.cli.framework.types import SecondsType
from vtnstream.cli.options import running
from vtnstream.cli.options.labels import make_labeller
from vtnstream.config import TimelineConfig
from vtnstream.config.follow import FollowConfig
from vtnstream.errors import UsageError
from vtnstream.wording import plural

if TYPE_CHECKING:
    from vtnstream.search.labeller import Labeller

_SECTION = "Live"
_EXCLUDED = (
    "recursive",
    "files_from",
    "null",
    "json",
    "output_dir",
    "format",
    "start",
    "end",
    "features",
    "whole",
)

follow_options = attach(
    option(
        "--follow",
        section=_SECTION,
        settable=False,
        is_flag=True,
        help="Read a growing file or a stream as it arrives, and print JSON lines.",
    ),
    field(
        FollowConfig,
        "keep",
        section=_SECTION,
        type=SecondsType(),
        metavar="TIME",
        show_default=False,
        help="Time before the end that the class depends on: 90, 30m, 2h [default: 30m].",
    ),
    field(
        FollowConfig,
        "follow_timeout",
        section=_SECTION,
        type=SecondsType(),
        metavar="TIME",
        show_default=False,
        help="End a stream that brings no data for this long [default: 30s].",
    ),
)


def follow_input(console: Console, values: Mapping[str, Any], localize: TimelineConfig) -> int:
    """Follow the one input to its end, or to the first signal.

    Returns:
        the exit code.

    Raises:
        UsageError: an option needs a whole video.
        VideoError: the stream cannot be read.
    """
    _check(values)
    config = FollowConfig(values["keep"], values["follow_timeout"])
    from vtnstream.analyzer import Analyzer
    from vtnstream.inference.request import Request
    from vtnstream.video.rtsp import open_stream

    request = Request(**request_from(values))
    analyzer: Analyzer | Labeller
    if values["labels"] is not None:
        analyzer = make_labeller(console, values, localize)
    else:
        analyzer = Analyzer(values["model"], runtime=running.runtime_from(values))
        analyzer.prepare_stream()
    path = values["inputs"][0]
    feed = open_stream(path, idle_seconds=config.follow_timeout, warn=console.warn)
    INTERRUPTS.call_instead(feed.close)
    try:
        with analyzer.follow(feed, request, localize, keep_seconds=config.keep) as follower:
            events = _Events(console, feed.name)
            events.start(follower, localize, config)
            for warning in follower.warnings:
                console.warn(f"{feed.name}: {warning}")
            for update in follower.updates():
                events.segments(update.segments, final=update.final)
            code = INTERRUPTS.end_calling()
            # The last segments are final only if the stream has ended by itself.
            stopped = f"stopped after {plural(follower.num_tokens, 'token')}" if code else None
            cut_short = stopped or feed.cut_short
            rest = follower.pending()
            events.segments(rest, final=cut_short is None)
            report = analyzer.stream_report(follower, request, localize, cut_short)
            final = follower.num_final + (0 if cut_short else len(rest))
            events.result(report, final, interrupted=bool(code))
    finally:
        INTERRUPTS.end_calling()
    for warning in report.warnings[len(follower.warnings) :]:
        console.warn(f"{feed.name}: {warning}")
    if code:
        console.say(f"{feed.name}: stopped; segments printed as final remain valid")
        return code
    if report.partial is not None:
        console.warn(f"{feed.name}: partial result: {'; '.join(report.partial.reasons)}")
        return ExitCode.PARTIAL
    return ExitCode.OK


def _check(values: Mapping[str, Any]) -> None:
    if len(values["inputs"]) != 1:
        raise UsageError("--follow reads one stream: name one file, address, or - for a pipe")
    for name in _EXCLUDED:
        if values[name]:
            flag = "--" + name.replace("_", "-")
            raise UsageError(f"{flag} cannot be used with --follow, which prints JSON lines")
    if values["method"] != "chunked":
        raise UsageError("--method cannot be used with --follow: leave it out")


class _Events:
    """Prints the events of one stream as JSON lines."""

    def __init__(self, console: Console, name: str) -> None:
        self._console = console
        self._name = name
        self._revision = 0

    def _say(self, kind: str, **fields: Any) -> None:
        from vtnstream.report.writers.structured import event, json_line

        self._console.out(json_line(event(kind, self._name, **fields)).rstrip("\n"))

    def start(self, follower: Any, localize: TimelineConfig, config: FollowConfig) -> None:
        self._say(
            "start",
            delay_seconds=follower.delay_seconds,
            track=follower.track,
            window=localize.num_window_tokens if follower.track == "sliding" else None,
            stride=localize.num_stride_tokens if follower.track == "sliding" else None,
            keep_seconds=config.keep,
            labels=follower.labels,
        )

    def segments(self, segments: tuple[Any, ...], *, final: bool) -> None:
        """Print segments: final ones once, others with the number of their revision."""
        from vtnstream.report.writers.structured import segment_document

        more: dict[str, Any] = {}
        if not final:
            self._revision += 1
            more["revision"] = self._revision
        for segment in segments:
            self._say("segment", **segment_document(segment, None), final=final, **more)

    def result(self, report: Any, num_final: int, *, interrupted: bool) -> None:
        from vtnstream.report.writers.structured import report_document

        document = report_document(report)
        for name in ("input", "segments", "timebase"):
            del document[name]
        self._say("result", **document, num_segments=num_final, interrupted=interrupted)
