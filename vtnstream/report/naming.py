"""Names of result files: the source's name with its extension, told apart where two sources
would share one, and never longer than file systems allow."""

from __future__ import annotations

import hashlib
import os
import unicodedata
from collections.abc import Iterable
from urllib.parse import unquote, urlsplit

MAX_NAME_BYTES = 255
_HASH_DIGITS = (8, 16, 64)
_CUT_DIGITS = 16
_DIRECTION_MARKS = frozenset(
    "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
)


def output_names(inputs: Iterable[str]) -> dict[str, str]:
    """Base names (without the suffix of a format) for the results of several inputs.

    ``film.mkv`` gives ``film.mkv``; inputs that share a name, also those that differ in
    upper and lower case only, get a short hash of their absolute path, whatever their order.

    Args:
        inputs: paths or addresses, as they were named.
    """
    sources = {name: _source(name) for name in inputs}
    bases = {name: base_name(name) for name in sources}
    owners: dict[str, set[str]] = {}
    for name, source in sources.items():
        owners.setdefault(folded(bases[name]), set()).add(source)
    shared = {name for name in sources if len(owners[folded(bases[name])]) > 1}
    names = bases
    for digits in _HASH_DIGITS:  # ten thousand equal names may share 8 digits, never 64
        names = bases | {name: hashed_name(name, digits) for name in shared}
        if len(set(map(folded, names.values()))) == len(set(sources.values())):
            break
    return names


def base_name(path: str) -> str:
    """The last part of a path or address, ``_`` for characters that act on a terminal
    instead of showing; ``stdin`` for ``-``."""
    if "://" in path:
        address = urlsplit(path)
        path = unquote(address.path) or address.netloc
    name = os.path.basename(path.rstrip("/"))
    if not (name.isascii() and name.isprintable()):
        name = "".join("_" if _unseen(character) else character for character in name)
    return {"-": "stdin", "": "video", ".": "video", "..": "video"}.get(name, name)


def hashed_name(path: str, digits: int = _HASH_DIGITS[0]) -> str:
    """The base name followed by a short hash of the absolute path."""
    digest = hashlib.sha256(os.fsencode(_source(path))).hexdigest()
    return f"{base_name(path)}.{digest[:digits]}"


def file_name(base: str, suffix: str) -> str:
    """``base`` and ``suffix``; a longer base than fits is cut and ends with its own hash."""
    room = MAX_NAME_BYTES - len(os.fsencode(suffix))
    encoded = os.fsencode(base)
    if len(encoded) <= room:
        return base + suffix
    mark = f"~{hashlib.sha256(encoded).hexdigest()[:_CUT_DIGITS]}"
    cut = base
    while len(os.fsencode(cut)) > room - len(mark):
        cut = cut[:-1]
    return f"{cut}{mark}{suffix}"


def same_source(a: str, b: str) -> bool:
    """Two names of one input."""
    return _source(a) == _source(b)


def _source(path: str) -> str:
    return path if "://" in path or path == "-" else os.path.abspath(path)


def folded(name: str) -> str:
    """Equal for names that some file system takes for the same."""
    return unicodedata.normalize("NFC", name).casefold()


def _unseen(character: str) -> bool:
    return unicodedata.category(character) in ("Cc", "Zl", "Zp") or character in _DIRECTION_MARKS
