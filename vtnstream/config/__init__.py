"""Every default of vtnstream stands once, in these dataclasses; click reads them here."""

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
