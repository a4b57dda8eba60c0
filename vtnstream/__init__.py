"""vtnstream: from a video of any length to a class and a timeline.

    import vtnstream

    model = vtnstream.load_model("models/surgery")
    report = vtnstream.timeline("surgery.mp4", window=64, model=model)

One call a video: :func:`classify`, :func:`timeline`, :func:`summarize`, :func:`attention` and
:func:`extract`; without a trained model, :func:`find_moments` and :func:`label`. Many videos with
one model: :class:`Analyzer`. Each name is imported on its first use, so that ``import vtnstream``
and ``vtnstream --help`` import no torch.
"""

from __future__ import annotations

TYPE_CHECKING = False  # type checkers assume True; importing typing takes half of a quick start
if TYPE_CHECKING:
    from typing import Any

    from vtnstream.analyzer import Analyzer as Analyzer
    from vtnstream.api import attention as attention
    from vtnstream.api import classify as classify
    from vtnstream.api import extract as extract
    from vtnstream.api import load_features as load_features
    from vtnstream.api import summarize as summarize
    from vtnstream.api import timeline as timeline
    from vtnstream.config import BackboneConfig as BackboneConfig
    from vtnstream.config import ModelConfig as ModelConfig
    from vtnstream.config import PreprocessConfig as PreprocessConfig
    from vtnstream.config import RuntimeConfig as RuntimeConfig
    from vtnstream.config import SamplingConfig as SamplingConfig
    from vtnstream.config import TimelineConfig as TimelineConfig
    from vtnstream.config.search import SearchConfig as SearchConfig
    from vtnstream.config.summary import SummaryConfig as SummaryConfig
    from vtnstream.config.views import ViewsConfig as ViewsConfig
    from vtnstream.encoding.encoder import FrameEncoder as FrameEncoder
    from vtnstream.errors import VtnstreamError as VtnstreamError
    from vtnstream.inference.request import Request as Request
    from vtnstream.models.create import create_model as create_model
    from vtnstream.models.io.checkpoint import load_model as load_model
    from vtnstream.models.io.checkpoint import save_model as save_model
    from vtnstream.models.long_sequence.online import OnlineModel as OnlineModel
    from vtnstream.search.api import find_moments as find_moments
    from vtnstream.search.api import label as label
    from vtnstream.training.run import train as train
    from vtnstream.types import AttentionMap as AttentionMap
    from vtnstream.types import Features as Features
    from vtnstream.types import Report as Report
    from vtnstream.types import Segment as Segment

    __version__: str

_HOMES = {
    "Analyzer": "vtnstream.analyzer",
    "AttentionMap": "vtnstream.types",
    "BackboneConfig": "vtnstream.config",
    "Features": "vtnstream.types",
    "FrameEncoder": "vtnstream.encoding.encoder",
    "ModelConfig": "vtnstream.config",
    "OnlineModel": "vtnstream.models.long_sequence.online",
    "PreprocessConfig": "vtnstream.config",
    "Report": "vtnstream.types",
    "Request": "vtnstream.inference.request",
    "RuntimeConfig": "vtnstream.config",
    "SamplingConfig": "vtnstream.config",
    "SearchConfig": "vtnstream.config.search",
    "Segment": "vtnstream.types",
    "SummaryConfig": "vtnstream.config.summary",
    "TimelineConfig": "vtnstream.config",
    "ViewsConfig": "vtnstream.config.views",
    "VtnstreamError": "vtnstream.errors",
    "attention": "vtnstream.api",
    "classify": "vtnstream.api",
    "create_model": "vtnstream.models.create",
    "extract": "vtnstream.api",
    "find_moments": "vtnstream.search.api",
    "label": "vtnstream.search.api",
    "load_features": "vtnstream.api",
    "load_model": "vtnstream.models.io.checkpoint",
    "save_model": "vtnstream.models.io.checkpoint",
    "summarize": "vtnstream.api",
    "timeline": "vtnstream.api",
    "train": "vtnstream.training.run",
}

__all__ = [
    "Analyzer",
    "AttentionMap",
    "BackboneConfig",
    "Features",
    "FrameEncoder",
    "ModelConfig",
    "OnlineModel",
    "PreprocessConfig",
    "Report",
    "Request",
    "RuntimeConfig",
    "SamplingConfig",
    "SearchConfig",
    "Segment",
    "SummaryConfig",
    "TimelineConfig",
    "ViewsConfig",
    "VtnstreamError",
    "__version__",
    "attention",
    "classify",
    "create_model",
    "extract",
    "find_moments",
    "label",
    "load_features",
    "load_model",
    "save_model",
    "summarize",
    "timeline",
    "train",
]


def __getattr__(name: str) -> Any:
    from importlib import import_module

    value: Any
    if name == "__version__":
        from importlib.metadata import version

        value = version("vtnstream")
    elif name in _HOMES:
        value = getattr(import_module(_HOMES[name]), name)
    else:
        raise AttributeError(f"module 'vtnstream' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
