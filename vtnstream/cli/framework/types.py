"""Types of option values: times, rates, sizes, assignments."""

from __future__ import annotations

import os
import re
from fractions import Fraction
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from vtnstream.config.views import ViewsConfig
from vtnstream.errors import ConfigError, OutputError, UsageError
from vtnstream.replacing import check_folder, check_target
from vtnstream.timecode import parse_duration, parse_rate, parse_time

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(i?)b?", re.IGNORECASE)
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}


class _Type(click.ParamType):  # type: ignore[type-arg]
    """Base class of the types; ``click.ParamType`` is generic only since click 8.5."""


def complete_formats(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Complete the names of formats after the last comma."""
    from vtnstream.report.formats import every_writer

    before, comma, begun = incomplete.rpartition(",")
    taken = before.split(",")
    names = [
        name for name in ("all", *every_writer()) if name.startswith(begun) and name not in taken
    ]
    return [CompletionItem(f"{before}{comma}{name}") for name in names]


def complete_files(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Let the shell complete file names, although the option also accepts URLs, patterns or Hub
    names."""
    return [CompletionItem(incomplete, type="file")]


class FolderType(click.Path):
    """An output folder, refused before the work starts if no file can be written there.

    Args:
        printing: accept ``-``, for a command that can print the result instead.
        file: accept an existing file, for a command that can write one file too.
    """

    def __init__(self, *, printing: bool = False, file: bool = False) -> None:
        super().__init__(path_type=Path)
        self._printing, self._file = printing, file

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if str(value) == "-":
            if not self._printing:
                self.fail("- would print what needs files: name a folder", param, ctx)
            return Path("-")
        folder = Path(os.fsdecode(super().convert(value, param, ctx)))
        one_file = self._file and folder.is_file()
        check_folder(folder.parent if one_file else folder, folder)
        return folder


class FileType(click.Path):
    """An output file, refused before the work starts if it cannot be written.

    Args:
        new: refuse an existing file too; otherwise the command protects it.
    """

    def __init__(self, *, new: bool = False) -> None:
        super().__init__(path_type=Path)
        self._new = new

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        file = Path(os.fsdecode(super().convert(value, param, ctx)))
        check_target(file, overwrite=True)
        if self._new and file.exists():
            raise OutputError(f"{file}: exists already; name another file")
        return file


class TimeType(_Type):
    """A time in the video, checked but kept as text: frames (``2700f``) are converted to seconds
    once the frame rate of the video is known."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            parse_time(str(value))
        except UsageError as error:
            self.fail(str(error), param, ctx)
        return str(value)


class SecondsType(_Type):
    """A duration in seconds: ``90``, ``1:30``, ``30m``; not in frames."""

    name = "time"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        try:
            return float(parse_duration(str(value)))
        except UsageError as error:
            self.fail(str(error), param, ctx)


class RateType(_Type):
    """Frames per second as an exact fraction."""

    name = "rate"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Fraction:
        try:
            return parse_rate(value)
        except UsageError as error:
            self.fail(str(error), param, ctx)


class SizeType(_Type):
    """Bytes: ``500M``, ``20G``, ``1.5T`` (powers of 1024)."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        match = _SIZE.fullmatch(str(value).strip())
        if match is None:
            self.fail(f"not a size: {value!r} (write 500M or 20G)", param, ctx)
        return int(Fraction(match[1]) * 1024 ** _POWERS[match[2].lower()])


class ViewsType(_Type):
    """Clips x crops: ``10x3``."""

    name = "clipsxcrops"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> ViewsConfig:
        if isinstance(value, ViewsConfig):
            return value
        try:
            return ViewsConfig.parse(str(value))
        except ConfigError as error:
            self.fail(str(error), param, ctx)


class TripleType(_Type):
    """One number for all three channels, or three numbers: ``.5`` or ``.485,.456,.406``."""

    name = "numbers"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, float, float]:
        parts = str(value).split(",") if isinstance(value, (str, int, float)) else list(value)
        try:
            numbers = [float(part) for part in parts]
        except (TypeError, ValueError):
            numbers = []
        if len(numbers) == 1:
            numbers *= 3
        if len(numbers) != 3:
            self.fail(f"not one or three numbers: {value!r} (write .5 or .4,.5,.6)", param, ctx)
        return (numbers[0], numbers[1], numbers[2])


class AssignmentType(_Type):
    """``key=value``; the value is parsed as TOML (``.5`` too), or else kept as text."""

    name = "key=value"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, Any]:
        if isinstance(value, tuple):
            return (value[0], value[1])
        key, equals, text = str(value).partition("=")
        if not equals or not key.strip():
            self.fail(f"not key=value: {value!r}", param, ctx)
        return (key.strip(), _plain_value(text.strip()))


def _plain_value(text: str) -> Any:
    """Parse a TOML value (``true``, ``3``, ``[1, 2]``, ``"text"``) or a Python ``True``,
    ``False`` or ``.5``; anything else is returned as text."""
    import tomllib

    text = {"True": "true", "False": "false"}.get(text, text)
    if re.fullmatch(r"-?\.\d+", text):
        text = text.replace(".", "0.", 1)
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):
        return text


def format_size(num_bytes: float) -> str:
    """Format a size such as ``1.5 GB``, in the powers of 1024 that :class:`SizeType` reads."""
    power = 0
    while abs(num_bytes) >= 1024 and power < 4:
        num_bytes, power = num_bytes / 1024, power + 1
    return f"{num_bytes:.{1 if power else 0}f} {('B', 'KB', 'MB', 'GB', 'TB')[power]}"
