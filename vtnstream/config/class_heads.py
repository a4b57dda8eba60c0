"""Named class heads: each classifies a whole video by one aspect, such as its verb and its noun.

The heads share one layer. Its labels are ``HEAD:LABEL`` (``verb:take``), those of one head next to
each other, and the softmax is taken over the labels of each head.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from vtnstream.errors import ConfigError

SEPARATOR = ":"
"""Separates the name of a head from its label, which may contain it too."""
JOINT = "action"
"""Name of the combination of one label of each head."""


@dataclass(frozen=True, slots=True)
class ClassHead:
    """One softmax over a part of the class logits.

    Attributes:
        name: of the head; empty if it is the only one.
        labels: its K labels, without the name of the head.
        start: its first column of the class logits.
    """

    name: str
    labels: tuple[str, ...]
    start: int = 0

    @property
    def columns(self) -> slice:
        """Its columns of the class logits."""
        return slice(self.start, self.start + len(self.labels))

    @property
    def full_labels(self) -> tuple[str, ...]:
        """Its labels as the model names them, ``HEAD:LABEL`` if there are several heads."""
        if not self.name:
            return self.labels
        return tuple(full_label(self.name, label) for label in self.labels)


def full_label(head: str, label: str) -> str:
    """Return the label of a model with several heads: ``verb:take``."""
    return f"{head}{SEPARATOR}{label}"


def check_head_names(names: Sequence[str], where: str) -> None:
    """Check the names of several class heads.

    Raises:
        ConfigError: a name is empty, reserved, contains the separator, or stands twice; or there is
            one name only.
    """
    if len(names) == 1:
        raise ConfigError(f"{where}: one class head needs no name: leave it out")
    for name in names:
        if not name or SEPARATOR in name or name == JOINT:
            raise ConfigError(
                f"{where}: {name!r} cannot name a class head: it must not be empty or {JOINT!r}, "
                f"nor contain {SEPARATOR!r}"
            )
    if len(set(names)) != len(names):
        raise ConfigError(f"{where}: a class head is named twice")


def split_heads(names: Sequence[str], labels: Sequence[str]) -> tuple[ClassHead, ...]:
    """Return the heads of the labels of a model; none without labels.

    Args:
        names: of the heads, in the order of their labels; empty if there is only one.
        labels: all labels, ``HEAD:LABEL`` if there are names.

    Raises:
        ConfigError: names and labels do not fit.
    """
    if not names:
        return (ClassHead("", tuple(labels)),) if labels else ()
    check_head_names(names, "head.heads")
    parts = [label.partition(SEPARATOR) for label in labels]
    found: list[ClassHead] = []
    start = 0
    for name, group in groupby(parts, key=lambda part: part[0]):
        own = tuple(label for _, _, label in group)
        found.append(ClassHead(name, own, start))
        start += len(own)
    if labels and tuple(head.name for head in found) != tuple(names):
        raise ConfigError(
            f"head.labels must be HEAD{SEPARATOR}LABEL, those of {', '.join(names)} one head after "
            "the other"
        )
    return tuple(found)
