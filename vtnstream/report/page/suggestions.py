"""The HTML page of spans to label."""

from __future__ import annotations

import base64
import os
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from urllib.parse import quote_from_bytes

from vtnstream.localization.informative import Suggestion
from vtnstream.report.page.render import content_policy, page_style
from vtnstream.report.terminal.glyphs import printable
from vtnstream.timecode import format_time
from vtnstream.types import Thumbnail


def suggestions_page(
    suggestions: Sequence[Suggestion],
    thumbnails: Sequence[Thumbnail | None],
    model: str,
    folder: Path,
) -> str:
    """Render the page, with a frame of each span and a link to the span in its video.

    Args:
        suggestions: best first.
        thumbnails: one for each, or None.
        model: name of the model that suggests the spans.
        folder: of the page.
    """
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    rows = [
        {
            "rank": one.rank,
            "picture": _data_url(thumbnail),
            "name": printable(one.path.name),
            "href": _address(one, folder),
            "start": format_time(one.start, digits=1),
            "end": format_time(one.end, digits=1),
            "guess": printable(one.guess),
            "score": f"{100 * one.score:.0f} %",
            "uncertainty": f"{100 * one.uncertainty:.0f} %",
        }
        for one, thumbnail in zip(suggestions, thumbnails, strict=True)
    ]
    style = page_style()
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.from_string(
        files(__package__).joinpath("suggestions.html").read_text("utf-8")
    )
    page: str = template.render(
        rows=rows,
        model=printable(model),
        videos=len({one.path for one in suggestions}),
        style=Markup(style),
        policy=content_policy(style, ""),
    )
    return f"{page.rstrip()}\n"


def _data_url(thumbnail: Thumbnail | None) -> str | None:
    if thumbnail is None:
        return None
    return "data:image/jpeg;base64," + base64.b64encode(thumbnail.jpeg).decode("ascii")


def _address(one: Suggestion, folder: Path) -> str | None:
    """Return the address of the span relative to the page; None if the video is not an existing
    file."""
    if not one.path.is_file():
        return None
    try:
        there = os.path.relpath(os.path.abspath(one.path), os.path.abspath(folder))
    except ValueError:  # another drive
        return None
    span = f"#t={one.start:.3f},{one.end:.3f}"
    return "./" + quote_from_bytes(os.fsencode(there.replace(os.sep, "/"))) + span
