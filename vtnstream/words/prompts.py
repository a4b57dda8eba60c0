"""From what people write to what a text tower reads: templates and the canonical form."""

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
    """Lower case, without punctuation, single blanks: what SigLIP's text towers were trained on."""
    text = text.replace("_", " ").lower().translate(_PUNCTUATION)
    return re.sub(r"\s+", " ", text).strip()


def prompts_of(label: Label) -> tuple[str, ...]:
    """The texts whose mean vector stands for a label; none where it has examples alone."""
    if label.prompts == (label.name,):
        return tuple(template.format(label.name) for template in TEMPLATES)
    return label.prompts
