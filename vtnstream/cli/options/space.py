"""Build the embedding space of a search: an image-text model, a model's own encoder, or any timm
backbone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from vtnstream.cli.framework.console import Console
from vtnstream.cli.options import running, shared
from vtnstream.cli.options.backbone import prepare_encoding, refuse_backbone_options
from vtnstream.errors import ModelError

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
    from vtnstream.encoding.encoder import FrameEncoder
    from vtnstream.search.space import encoder_space, model_space, words_space

    runtime = running.runtime_from(values)
    if values["backbone"] is None:
        refuse_backbone_options(values)
        sampling = shared.sampling_from(values, None)
        if values["model"] is None:
            return words_space(_default_words(), runtime, sampling)
        return model_space(values["model"], runtime, sampling)
    encoding = prepare_encoding(values, console)
    assert isinstance(encoding.encoder, FrameEncoder)
    return encoder_space(encoding.encoder, encoding.sampling)


def _default_words() -> ImageTextModel:
    from vtnstream.words.model import open_words
    from vtnstream.words.published import DEFAULT_WORDS

    try:
        words = open_words(DEFAULT_WORDS)
    except ModelError as error:
        raise ModelError(f"{error}; examples (--like) also take any --backbone") from error
    assert words is not None
    return words
