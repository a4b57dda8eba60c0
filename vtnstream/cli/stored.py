"""Read stored results of earlier commands, and find their videos."""

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
    """Call ``work`` for every result; a failure does not stop the others.

    Args:
        names: JSON files of one result or an array of results; ``-`` is standard input.
        console: prints the errors.
        work: called with the name of the file and a report.

    Raises:
        UsageError: no file is named, or ``work`` raises it.
    """
    if not names:
        raise UsageError("no result: name a JSON result file, or - for standard input")
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
    """Find the video of a stored result.

    The path in the result is tried first, then the folder of the result file. Size and hash must
    match those of the analysed video.

    Args:
        report: a stored result.
        result: path of its file.
        named: path given by the user; if given, no other place is tried.
        console: warns of videos that do not match.

    Returns:
        the path, or None if no matching video was found.

    Raises:
        UsageError: the named video does not exist or does not match.
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
    return f"is not the analysed video {report.input}: its bytes differ"
