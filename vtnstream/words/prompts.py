"""Prompts of a label for a text tower: templates and the canonical form."""

from __future__ import annotations

import re
import string

from vtnstream.words.queries import Label

TEMPLATE_VERSION = 1
"""Raised whenever prompts or their form change: stored text vectors are of one version."""

TEMPLATES = ("{}", "a photo of {}", "a video frame of {}")
"""For a label that is its own prompt; prompts that people write are taken as they are."""

_PUNCTUATION = str.maketrans("", "", string.punctuation)


def canonical(text: str) -> str:
    """Return text in lower case, without punctuation, with single spaces.

    SigLIP's text towers were trained on this form.
    """
    text = text.replace("_", " ").lower().translate(_PUNCTUATION)
    return re.sub(r"\s+", " ", text).strip()


def prompts_of(label: Label) -> tuple[str, ...]:
    """Return the texts whose mean vector represents a label; none if it has only examples."""
    if label.prompts == (label.name,):
        return tuple(template.format(label.name) for template in TEMPLATES)
    return label.prompts
