"""Results that earlier commands wrote, and the videos they are about."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vtnstream.cli.framework.console import Console, StandardOutputError
from vtnstream.cli.framework.exit_codes import ExitCode
from vtnstream.cli.framework.failures import message_for
from vtnstream.errors import UsageError, VtnstreamError

if TYPE_CHECKING:
    from vtnstream.types import Report


def each_result(
    names: Sequence[str], console: Console, work: Callable[[str, Report], None]
) -> ExitCode:
    """Do ``work`` on every result, whatever happens to the others.

    Args:
        names: JSON files, each one result or an array of them; ``-`` is standard input.
        console: where errors go.
        work: called with the file's name and a report.

    Raises:
        UsageError: nothing is named, or ``work`` finds the request itself wrong.
    """
    if not names:
        raise UsageError("no result: name a JSON file of vtnstream, or - for standard input")
    failed = False
    for name in names:
        try:
            reports, problems = _read(name)
        except VtnstreamError as error:
            reports, problems = [], [message_for(name, error)]
        for report in reports:
            try:
                work(name, report)
            except (StandardOutputError, UsageError):
                raise
            except VtnstreamError as error:
                console.traceback(error)
                problems.append(message_for(name, error))
        for problem in problems:
            console.error(problem)
        failed = failed or bool(problems)
    return ExitCode.FAILED if failed else ExitCode.OK


def _read(name: str) -> tuple[list[Report], list[str]]:
    from vtnstream.report.reading import read_reports, reports_from_json

    if name == "-":
        return reports_from_json(sys.stdin.buffer.read(), where="standard input")
    return read_reports(name)


def find_video(report: Report, result: str, named: Path | None, console: Console) -> Path | None:
    """Where the video of a stored result lies now.

    Looked for where the result says, and beside the result. What was analysed is known by its
    size and a hash; another video is not taken for it.

    Args:
        report: a stored result.
        result: its file.
        named: what the user says; no other is looked for then.
        console: where to say that a video was not taken.

    Raises:
        UsageError: the video that is named is not there, or is another one.
    """
    if named is not None:
        if why := _differs(report, named):
            raise UsageError(f"{named}: {why}")
        return named
    if "://" in report.input or report.input == "-":
        return None
    folder = os.path.dirname(result) if result != "-" else ""
    name = os.path.basename(report.input)
    places = (report.input, os.path.join(folder, report.input), os.path.join(folder, name))
    for place in dict.fromkeys(places):
        if os.path.isfile(place):
            why = _differs(report, Path(place))
            if why is None:
                return Path(place)
            console.warn(f"{place}: {why}")
    return None


def _differs(report: Report, video: Path) -> str | None:
    from vtnstream.features.key import video_identity

    if not video.is_file():
        return "no such file"
    identity = video_identity(video)
    known = report.run.get("video_blocks_sha256", identity.blocks_sha256)
    if (identity.size_bytes, identity.blocks_sha256) == (report.video.size_bytes, known):
        return None
    return f"not the video that {report.input} was: its bytes differ"
