"""The HTML pages: what differs between them, in the frame that they share."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

import vtnstream

STATIC = Path(__file__).resolve().parents[1] / "static"
_SHARED = Path(vtnstream.__file__).resolve().parent / "report" / "page"


@dataclass(frozen=True, slots=True)
class Page:
    """A page.

    Attributes:
        name: of its content (``NAME.html``) and its script (``NAME.js``).
        title: for the window.
        skip: id of the element that keyboards skip to.
    """

    name: str
    title: str
    skip: str = "main"


LIBRARY = Page("library", "Library")
VIDEO = Page("video", "Video", "list")
TEACH = Page("teach", "Teach")


@functools.cache
def page(one: Page) -> str:
    """The HTML of a page."""
    frame = (STATIC / "frame.html").read_text("utf-8")
    content = (STATIC / f"{one.name}.html").read_text("utf-8").strip()
    values = {"title": one.title, "name": one.name, "skip": one.skip, "content": content}
    for key, value in values.items():
        frame = frame.replace(f"{{{key}}}", value)
    return frame


SHARED = {"theme.css": "text/css", "times.js": "text/javascript"}
"""Files of the static page of a report that the studio uses as well, and their media types."""


def shared(name: str) -> Path:
    """The place of a shared file."""
    return _SHARED / name
