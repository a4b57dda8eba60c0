"""The space in which frames are compared: that of a backbone, or of an image-text model."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from vtnstream.config import RuntimeConfig, SamplingConfig
from vtnstream.encoding.encoder import FrameEncoder, resolve_device
from vtnstream.words.model import ImageTextModel
from vtnstream.words.vectors import Project, identity


@dataclass(frozen=True, slots=True)
class SearchSpace:
    """What frames are encoded with, and which frames.

    Attributes:
        encoder: frames to features.
        sampling: which frames of a video.
        about: name, source and hash of the model, for reports.
        words: the image-text model whose image tower the encoder is; None understands no words.
    """

    encoder: FrameEncoder
    sampling: SamplingConfig
    about: dict[str, Any]
    words: ImageTextModel | None = None

    @property
    def project(self) -> Project:
        """Project features of the encoder to the space that is searched."""
        return identity if self.words is None else self.words.project


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
