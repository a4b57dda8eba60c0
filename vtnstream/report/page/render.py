"""Render a report as one HTML page that loads no other file except the video.

The page can be read without JavaScript. The template escapes all values of the report. The
page's Content-Security-Policy allows only its own style and script (by their hashes), its
embedded images, and the video next to it.
"""

from __future__ import annotations

import base64
import functools
import hashlib
from importlib.resources import files
from typing import Any

from vtnstream.report.page.contents import contents
from vtnstream.report.place import Place
from vtnstream.types import Report


def report_page(report: Report, place: Place) -> str:
    """Render the page. It plays the video if ``place`` has an address relative to the page."""
    from markupsafe import Markup

    style, script = page_style(), page_script()
    page: str = _template().render(
        **contents(report, place),
        style=Markup(style),
        script=Markup(script),
        policy=content_policy(style, script),
    )
    return f"{page.rstrip()}\n"


def page_style() -> str:
    """Return the style of a page: what it shares with the studio, then its own."""
    return _part("theme.css") + _part("page.css")


def page_script() -> str:
    """Return the script of a page. ``times.js`` is a module for the studio; a page of one file
    imports nothing, so that it holds the functions themselves."""
    return _part("times.js").replace("export function", "function") + _part("page.js")


def content_policy(style: str, script: str) -> str:
    """Return the Content-Security-Policy of a page with this style and script.

    A page opened from a disk has no origin of its own, so the video next to it is ``file:``.
    """
    rules = {
        "default-src": "'none'",
        "style-src": f"'sha256-{_hash(style)}'",
        "script-src": f"'sha256-{_hash(script)}'",
        "img-src": "data:",
        "media-src": "'self' file:",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    return "; ".join(f"{name} {sources}" for name, sources in rules.items())


def _hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")


@functools.cache
def _part(name: str) -> str:
    return files(__package__).joinpath(name).read_text("utf-8")


@functools.cache
def _template() -> Any:
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(_part("page.html"))
