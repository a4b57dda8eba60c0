"""Build the embedding space of a search: an image-text model, a model's own encoder, or any timm
backbone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from vtnstream.cli.framework.console import Console
from vtnstream.cli.options import running, shared
from vtnstream.cli.options.backbone import prepare_encoding, refuse_backbone_options
from vtnstream.errors import ModelError, UsageError

if TYPE_CHECKING:
    from vtnstream.search.space import SearchSpace
    from vtnstream.words.model import ImageTextModel


def prepare_space(values: Mapping[str, Any], console: Console) -> SearchSpace:
    """Build the space that ``--model``, or ``--backbone`` and its options, name; without either,
    that of the default image-text model.

    Raises:
        UsageError: options contradict each other, or the model reads clips.
        ModelError: the model or backbone cannot be built, or is not available.
    """
    from vtnstream.search.space import SearchSpace

    words = None
    if values["backbone"] is None:
        from vtnstream.words.model import open_words

        words = _default_words() if values["model"] is None else open_words(values["model"])
    if words is not None:
        refuse_backbone_options(values)
        return _words_space(words, values)
    encoding = prepare_encoding(values, console)
    if encoding.encoder.shape.clip:
        raise UsageError(
            "this model reads clips and has no features of single moments to search: use a model "
            "of the form factorised-encoder"
        )
    about = {
        "name": encoding.model.config.name if encoding.model else encoding.encoder.config.name,
        "source": values["model"],
        "weights_sha256": encoding.encoder.weights_sha256,
    }
    return SearchSpace(encoding.encoder, encoding.sampling, about)


def _default_words() -> ImageTextModel | None:
    from vtnstream.words.model import open_words
    from vtnstream.words.published import DEFAULT_WORDS

    try:
        return open_words(DEFAULT_WORDS)
    except ModelError as error:
        raise ModelError(f"{error}; examples (--like) also take any --backbone") from error


def _words_space(words: ImageTextModel, values: Mapping[str, Any]) -> SearchSpace:
    from vtnstream.search.space import words_space

    sampling = shared.sampling_from(values, None)
    return words_space(words, running.runtime_from(values), sampling)
