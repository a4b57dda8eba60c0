"""What a search compares frames with, from a command line: a model's own encoder, or any timm
backbone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from vtnstream.cli.framework.console import Console
from vtnstream.cli.options.backbone import prepare_encoding

if TYPE_CHECKING:
    from vtnstream.search.searcher import SearchSpace


def prepare_space(values: Mapping[str, Any], console: Console) -> SearchSpace:
    """Build what ``--model`` or ``--backbone`` and its options ask for.

    Raises:
        UsageError: neither is named, options contradict each other, or the model sees clips.
        ModelError: the model or backbone cannot be built.
    """
    from vtnstream.errors import UsageError
    from vtnstream.search.searcher import SearchSpace

    encoding = prepare_encoding(values, console)
    if encoding.encoder.shape.clip:
        raise UsageError(
            "this model sees clips and has no features of single moments to search: use one of "
            "form factorised-encoder"
        )
    about = {
        "name": encoding.model.config.name if encoding.model else encoding.encoder.config.name,
        "source": values["model"],
        "weights_sha256": encoding.encoder.weights_sha256,
    }
    return SearchSpace(encoding.encoder, encoding.sampling, about)
