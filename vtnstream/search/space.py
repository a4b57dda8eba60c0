"""The space in which frames are compared: that of a backbone, or of an image-text model."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from vtnstream.config import RuntimeConfig, SamplingConfig
from vtnstream.encoding.encoder import FrameEncoder
from vtnstream.errors import UsageError
from vtnstream.models.io.checkpoint import find_model, load_model
from vtnstream.words.model import ImageTextModel, open_words
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
"""Default sampling for words: one frame per second."""


def words_space(
    words: ImageTextModel, runtime: RuntimeConfig, sampling: SamplingConfig | None = None
) -> SearchSpace:
    """The search space of an image-text model.

    Args:
        words: the model.
        runtime: device, dtype.
        sampling: which frames; None is one per second.

    Raises:
        CheckpointError: the image tower's weights do not fit.
    """
    encoder = FrameEncoder.of_files(
        lambda: (words.image_tower(), ""),
        words.image_tower_files,
        words.config.backbone,
        words.config.preprocess,
        runtime,
    )
    about = {
        "name": words.name,
        "source": str(words.folder),
        "weights_sha256": encoder.weights_sha256,
        "architecture": words.config.family,
        "backbone": words.config.backbone.name,
    }
    return SearchSpace(encoder, sampling or WORDS_SAMPLING, about, words)


def model_space(
    name: str | Path, runtime: RuntimeConfig, sampling: SamplingConfig | None = None
) -> SearchSpace:
    """The search space of a model by its name. Where its weights were met before, the network is
    built only when a frame must be encoded.

    Args:
        name: an image-text model, or a trained model, whose backbone is used.
        runtime: device, dtype, cache.
        sampling: which frames; None is the model's own, or one per second for an image-text model.

    Raises:
        ModelError: there is no usable model of this name.
        UsageError: the model reads clips.
    """
    words = open_words(name)
    if words is not None:
        return words_space(words, runtime, sampling)
    found = find_model(name)
    if found is None or found[0].vivit is not None:
        model = load_model(name)
        config, encoder = model.config, FrameEncoder.from_model(model, runtime)
        if encoder.shape.clip:
            raise UsageError(
                "this model reads clips and has no features of single moments to search: use a "
                "model of the form factorised-encoder"
            )
    else:
        config, path = found
        encoder = FrameEncoder.of_files(
            lambda: (load_model(name).backbone, ""),
            (path,),
            config.backbone,
            config.preprocess,
            runtime,
        )
    about = {
        "name": config.name,
        "source": str(name),
        "weights_sha256": encoder.weights_sha256,
    }
    return SearchSpace(encoder, sampling or config.sampling, about)


def encoder_space(encoder: FrameEncoder, sampling: SamplingConfig | None = None) -> SearchSpace:
    """Return the search space of a frame encoder; the default is two frames per second."""
    about = {
        "name": encoder.config.name,
        "source": None,
        "weights_sha256": encoder.weights_sha256,
    }
    return SearchSpace(encoder, sampling or SamplingConfig(), about)
