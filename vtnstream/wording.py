"""Numbers with their nouns, for messages."""

from __future__ import annotations


def plural(count: int, noun: str, many: str | None = None) -> str:
    """Return a number with its noun: ``1 video``, ``2 videos``, ``1,200 videos``.

    Args:
        count: the number.
        noun: singular noun.
        many: plural noun, if it is not ``noun`` with an s.
    """
    return f"{count:,} {noun if count == 1 else many or noun + 's'}"
