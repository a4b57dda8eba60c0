"""Choose the names of result files.

A result has the name of its source with the extension. Names of different sources differ, and
fit the limits of file systems.
"""

from __future__ import annotations

import hashlib
import os
import unicodedata
from collections.abc import Iterable
from urllib.parse import unquote, urlsplit

MAX_NAME_BYTES = 255
_HASH_DIGITS = (8, 16, 64)
_CUT_DIGITS = 16
_LONGEST_LABEL = 60
_DIRECTION_MARKS = frozenset(
    "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
)


def output_names(inputs: Iterable[str]) -> dict[str, str]:
    """Choose base names (without the suffix of a format) for the results of several inputs.

    ``movie.mkv`` gives ``movie.mkv``. If names are equal, or differ only in upper and lower case,
    a short hash of the absolute path is appended to each, whatever the order of the inputs.

    Args:
        inputs: paths or addresses, as given by the user.
    """
    sources = {name: _source(name) for name in inputs}
    bases = {name: base_name(name) for name in sources}
    owners: dict[str, set[str]] = {}
    for name, source in sources.items():
        owners.setdefault(folded(bases[name]), set()).add(source)
    shared = {name for name in sources if len(owners[folded(bases[name])]) > 1}
    names = bases
    for digits in _HASH_DIGITS:  # of ten thousand equal names, 8 digits may coincide, but not 64
        names = bases | {name: hashed_name(name, digits) for name in shared}
        if len(set(map(folded, names.values()))) == len(set(sources.values())):
            break
    return names


def base_name(path: str) -> str:
    """Return the last part of a path or address; ``stdin`` for ``-``.

    Characters that act on a terminal instead of showing become ``_``.
    """
    if "://" in path:
        address = urlsplit(path)
        path = unquote(address.path) or address.netloc
    name = os.path.basename(path.rstrip("/"))
    if not (name.isascii() and name.isprintable()):
        name = "".join("_" if _is_invisible(character) else character for character in name)
    return {"-": "stdin", "": "video", ".": "video", "..": "video"}.get(name, name)


def hashed_name(path: str, digits: int = _HASH_DIGITS[0]) -> str:
    """Return the base name followed by a short hash of the absolute path."""
    digest = hashlib.sha256(os.fsencode(_source(path))).hexdigest()
    return f"{base_name(path)}.{digest[:digits]}"


def file_name(base: str, suffix: str) -> str:
    """Join ``base`` and ``suffix``; a base that is too long is cut and ends with its own hash."""
    room = MAX_NAME_BYTES - len(os.fsencode(suffix))
    encoded = os.fsencode(base)
    if len(encoded) <= room:
        return base + suffix
    mark = f"~{hashlib.sha256(encoded).hexdigest()[:_CUT_DIGITS]}"
    cut = base
    while len(os.fsencode(cut)) > room - len(mark):
        cut = cut[:-1]
    return f"{cut}{mark}{suffix}"


def safe_label(label: str) -> str:
    """Return a label as part of a file name: letters, digits, ``-`` and ``_``, at most 60."""
    return "".join(c if c.isalnum() or c in "-_" else "_" for c in label)[:_LONGEST_LABEL] or "_"


def same_source(a: str, b: str) -> bool:
    """Return whether two names are of the same input."""
    return _source(a) == _source(b)


def _source(path: str) -> str:
    return path if "://" in path or path == "-" else os.path.abspath(path)


def folded(name: str) -> str:
    """Return a form that is equal for names that some file systems treat as equal."""
    return unicodedata.normalize("NFC", name).casefold()


def _is_invisible(character: str) -> bool:
    return unicodedata.category(character) in ("Cc", "Zl", "Zp") or character in _DIRECTION_MARKS
