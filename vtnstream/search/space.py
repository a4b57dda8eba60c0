"""The space of an image-text model: its image tower as the encoder of frames."""

from __future__ import annotations

from fractions import Fraction

from vtnstream.config import RuntimeConfig, SamplingConfig
from vtnstream.encoding.encoder import FrameEncoder, resolve_device
from vtnstream.search.searcher import SearchSpace
from vtnstream.words.model import ImageTextModel

WORDS_SAMPLING = SamplingConfig(kind="rate", fps=Fraction(1))
"""How videos are sampled for words where nothing else is said: a frame a second."""


def words_space(
    words: ImageTextModel, runtime: RuntimeConfig, sampling: SamplingConfig | None = None
) -> SearchSpace:
    """The search space of an image-text model.

    Args:
        words: the model.
        runtime: device, dtype.
        sampling: which frames; None is one a second.

    Raises:
        CheckpointError: the image tower's weights do not fit.
    """
    encoder = FrameEncoder(
        words.image_tower(),
        words.config.backbone,
        words.config.preprocess,
        device=resolve_device(runtime.device),
        dtype=runtime.dtype,
    )
    about = {
        "name": words.name,
        "source": str(words.folder),
        "weights_sha256": encoder.weights_sha256,
        "architecture": words.config.family,
        "backbone": words.config.backbone.name,
    }
    return SearchSpace(encoder, sampling or WORDS_SAMPLING, about, words)
