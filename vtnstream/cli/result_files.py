"""Write results to files in the formats of ``--format``."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vtnstream.cli.framework.console import Console
from vtnstream.errors import UsageError
from vtnstream.wording import plural

if TYPE_CHECKING:
    from vtnstream.report.writers.pictures import SpanFrames
    from vtnstream.types import Report


STANDARD_OUTPUT = "-"
"""What ``-o`` names for one format on standard output."""
_IMAGES = ".images"
"""Suffix of a folder of images."""


@dataclass(frozen=True, slots=True)
class ResultFiles:
    """The formats that ``--format`` selects.

    Attributes:
        formats: names in the table of writers.
        every: whether ``all`` was given instead of names.
        console: prints the written files.
        overwrite: replace files that vtnstream did not write.
    """

    formats: tuple[str, ...]
    every: bool
    console: Console
    overwrite: bool = False

    @classmethod
    def of(
        cls,
        names: Sequence[str],
        console: Console,
        *,
        timeline: bool = True,
        overwrite: bool = False,
    ) -> ResultFiles:
        """Read ``--format``.

        Args:
            names: values of the option.
            console: warns of formats that cannot be written.
            timeline: whether results will have a timeline.
            overwrite: replace files that vtnstream did not write.

        Raises:
            UsageError: an unknown format, or one that needs a timeline when there is none.
            MissingExtraError: a named format needs a library that is not installed.
        """
        from vtnstream.optional import install_command
        from vtnstream.report.formats import EXTRA, all_asked, format_names, left_out

        formats = format_names(names, timeline=timeline)
        every = all_asked(names)
        if every and (absent := left_out()):
            console.warn(f"without {', '.join(absent)}: install them with {install_command(EXTRA)}")
        return cls(formats, every, console, overwrite)

    def check_printable(self) -> None:
        """Check that there is exactly one format, and that it is a text.

        Raises:
            UsageError: there are several, or one of images.
        """
        from vtnstream.report.formats import shows_frames

        if shows_frames(self.formats):
            raise UsageError(
                f"-f {','.join(self.formats)} writes images: name a folder for them with -o DIR"
            )
        if len(self.formats) != 1:
            raise UsageError(
                "one format goes to standard output: name one with -f, or an output folder for "
                "several with -o DIR"
            )

    def print(self, report: Report, *, video: Path | None = None) -> None:
        """Print one report on standard output in the one format.

        Args:
            report: the result.
            video: where the video lies now, if that is not ``report.input``.

        Raises:
            OutputError: the format cannot hold the report.
        """
        from vtnstream.report.writer import rendered

        (name,) = self.formats
        if name == "html":
            report = self._illustrated(report, video or Path(report.input))
        text, notes = rendered(report, name, video=video)
        self.console.out(text.removesuffix("\n"))
        for remark in notes:
            self.console.warn(f"{report.input}: {remark}")

    def check(self, path: str, directory: Path, *, inputs: Collection[str] = ()) -> None:
        """Check that the files of a result may be written, before the video is analysed.

        Args:
            path: the video.
            directory: output folder.
            inputs: all inputs of the command.

        Raises:
            OutputError: a file exists already and is not vtnstream's.
        """
        from vtnstream.report.writer import text_targets

        for target in text_targets(path, directory, self.formats, inputs=inputs):
            self._check_target(target, path, [path, *inputs])

    def _check_target(self, target: Path, owner: str, sources: Collection[str | Path]) -> None:
        """Check that the result of the video ``owner`` may be written to ``target``."""
        from vtnstream.replacing import check_target
        from vtnstream.report.writer import is_result_of

        # A stored JSON result names its video; files of other formats are recognised by the
        # record of what was written.
        own = is_result_of(target, owner)
        check_target(target, sources=sources, overwrite=self.overwrite or own, remembered=True)

    def write(
        self,
        report: Report,
        directory: Path,
        *,
        inputs: Collection[str] = (),
        video: Path | None = None,
        without: Collection[str] = (),
    ) -> str | None:
        """Write one report in all formats that can hold it.

        The arguments are those of :func:`vtnstream.report.writer.write_reports`, and ``without``
        names formats to leave out.

        Returns:
            one line about named formats that cannot hold the report, or None.

        Raises:
            OutputError: a file cannot be written, or exists already and is not vtnstream's.
        """
        from vtnstream.replacing import announce, remember, was_written_here
        from vtnstream.report.writer import write_reports

        formats = [name for name in self.formats if name not in without]
        if not formats:
            return None
        if "html" in formats:
            report = self._illustrated(report, video or Path(report.input))
        sources = [name for name in (report.input, video, *inputs) if name is not None]

        written = write_reports(
            report,
            directory,
            formats,
            inputs=inputs,
            video=video,
            check=lambda target: self._check_target(target, report.input, sources),
            before_rename=announce,
            frames=self._frames(report, video, formats),
            obsolete=was_written_here,
        )
        remember(written.files)
        for line in _lines(written.files):
            self.console.say(line)
        for remark in written.remarks:
            self.console.warn(f"{report.input}: {remark}")
        reasons = "; ".join(f"no {name}: {why}" for name, why in written.refused.items())
        if reasons and self.every:
            self.console.say(f"{report.input}: {reasons}")
            return None
        return f"{report.input}: {reasons}" if reasons else None

    def _frames(
        self, report: Report, video: Path | None, formats: Sequence[str]
    ) -> SpanFrames | None:
        """Return what reads frames of the video, if a format needs it and the file is found."""
        from vtnstream.report.formats import shows_frames

        if not shows_frames(formats):
            return None
        from vtnstream.video.span_frames import span_reader

        return span_reader(video or report.input, report.video.stream_index)

    def _illustrated(self, report: Report, video: Path) -> Report:
        """Return the report with a thumbnail of each segment, if the video file is found."""
        if report.thumbnails:
            return report
        from vtnstream.cli.pictures import with_thumbnails

        return with_thumbnails(report, range(len(report.segments or ())), video, self.console)


def _lines(files: Sequence[Path]) -> list[str]:
    """Return one line per file; files of a folder of images have one line together."""
    groups: dict[Path, list[Path]] = {}
    for path in files:
        groups.setdefault(path.parent, []).append(path)
    lines = []
    for folder, found in groups.items():
        if folder.suffix == _IMAGES:
            lines.append(f"wrote {plural(len(found), 'image')} into {folder}")
        else:
            lines += [f"wrote {path}" for path in found]
    return lines
