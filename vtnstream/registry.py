"""Tables of strategies: plain dicts ``name -> value``, with a suggestion for a wrong name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import TypeVar

from vtnstream.errors import UsageError

_T = TypeVar("_T")


def suggestion(name: str, names: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the closest of ``names``, or an empty string."""
    close = difflib.get_close_matches(name, list(names), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def lookup(table: Mapping[str, _T], name: str, what: str) -> _T:
    """Return ``table[name]``; ``what`` describes the names in the message.

    Raises:
        UsageError: the name is unknown; the message lists the known names.
    """
    if name in table:
        return table[name]
    known = ", ".join(sorted(table))
    raise UsageError(f"unknown {what} {name!r}{suggestion(name, table)} (known: {known})")
