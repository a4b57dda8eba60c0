"""The configuration dataclasses.

Every default of vtnstream is defined here, once; the options of the commands take their defaults,
types and choices from these classes. A model folder stores its :class:`ModelConfig` as
``config.json``. Invalid values raise :class:`vtnstream.errors.ConfigError`.
"""

from vtnstream.config.class_heads import ClassHead
from vtnstream.config.model import (
    BackboneConfig,
    EventsConfig,
    HeadConfig,
    ModelConfig,
    PreprocessConfig,
    SamplingConfig,
)
from vtnstream.config.optim import OptimConfig
from vtnstream.config.runtime import RuntimeConfig
from vtnstream.config.temporal import TemporalConfig
from vtnstream.config.timeline import TimelineConfig
from vtnstream.config.train import AugmentConfig, CheckpointConfig, DataConfig, TrainConfig
from vtnstream.config.vivit import ViViTConfig

__all__ = [
    "AugmentConfig",
    "BackboneConfig",
    "CheckpointConfig",
    "ClassHead",
    "DataConfig",
    "EventsConfig",
    "HeadConfig",
    "ModelConfig",
    "OptimConfig",
    "PreprocessConfig",
    "RuntimeConfig",
    "SamplingConfig",
    "TemporalConfig",
    "TimelineConfig",
    "TrainConfig",
    "ViViTConfig",
]
