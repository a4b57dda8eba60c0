"""A griffe extension that adapts docstrings for the API reference.

Roles (``:class:`vtnstream.types.Report```) become links to public names and code otherwise, and
an entry for several parameters (``start, end: ...``) becomes one entry for each.
"""

from __future__ import annotations

import re
from typing import Any

import griffe

import vtnstream

_ROLE = re.compile(r":\w+:`~?([\w.]+)`")
_SEVERAL = re.compile(r"^( *)(\w+(?:, \w+)+):(.*(?:\n\1 +\S.*)*)", re.MULTILINE)


def adapted(text: str) -> str:
    """The docstring with roles as Markdown and one entry for each parameter."""

    def link(match: re.Match[str]) -> str:
        name = match[1].rpartition(".")[2]
        return f"[`{name}`][vtnstream.{name}]" if name in vtnstream.__all__ else f"`{name}`"

    def entries(match: re.Match[str]) -> str:
        return "\n".join(f"{match[1]}{name}:{match[3]}" for name in match[2].split(", "))

    text = _ROLE.sub(link, text).replace("``", "`")
    head, separator, arguments = text.partition("Args:\n")
    if not separator:
        head, separator, arguments = text.partition("Attributes:\n")
    return head + separator + _SEVERAL.sub(entries, arguments)


class AdaptedDocstrings(griffe.Extension):
    """Adapts every docstring after it was read."""

    def on_instance(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        if obj.docstring is not None:
            obj.docstring.value = adapted(obj.docstring.value)
