"""The executors of ``batch classify``, ``batch timeline`` and ``batch extract``.

They also provide what a cluster needs to split a video into ranges: ``encoder``, ``sampling``,
``part``, and ``splits``, which says whether results can be computed from features of ranges.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vtnstream.batch.workers.executor import ExecutorInfo, Result, settings_key
from vtnstream.batch.workers.outcome import Task
from vtnstream.config import RuntimeConfig, SamplingConfig, TimelineConfig
from vtnstream.config.loading import to_dict
from vtnstream.config.runtime import METHODS
from vtnstream.config.shipped import BUNDLED_MODEL
from vtnstream.errors import ReportError
from vtnstream.machine import num_threads
from vtnstream.progress import Progress
from vtnstream.report.naming import file_name

if TYPE_CHECKING:
    from vtnstream.analyzer import Analyzer
    from vtnstream.encoding.engines.protocols import Encoder
    from vtnstream.types import Report

FEATURES_SUFFIX = ".safetensors"
_SIDE_BY_SIDE = {"cpu": 8, "cuda": 32}
"""Small videos at the same time in one process: enough to fill a batch with their last frames."""


@dataclass(frozen=True, slots=True)
class Part:
    """The part of each video to process, as given by the user."""

    start: Any = None
    end: Any = None
    stream: int | None = None


class AnalysisExecutor:
    """The executor of ``classify`` and ``timeline``.

    Args:
        model: a model folder or a name on the Hub; None is the bundled model.
        request: fields of :class:`vtnstream.inference.request.Request`.
        localize: settings of the timeline; None to predict only the class.
        formats, top_k: formats of the result files, and number of classes in them.
        every: whether formats that cannot hold a report are left out with a warning; otherwise
            they are an error.
        runtime: device, dtype, cache.
        output: folder of the results.
    """

    def __init__(
        self,
        model: str | None,
        request: Mapping[str, Any],
        localize: TimelineConfig | None,
        *,
        formats: Sequence[str],
        every: bool,
        top_k: int | None,
        runtime: RuntimeConfig,
        output: Path,
    ) -> None:
        from vtnstream.inference.request import Request
        from vtnstream.inference.stored_answers import StoredAnswers
        from vtnstream.report.writers.structured import SCHEMA

        self._model, self._runtime = model, runtime
        self._analyzer: Analyzer | None = None
        self._loading, self._writing = threading.Lock(), threading.Lock()
        self._stored = StoredAnswers.of(model, BUNDLED_MODEL if model is None else model, runtime)
        self._request = Request(**request)
        self._localize = localize
        self._formats, self._every, self._top_k = formats, every, top_k
        self.output = output
        known = self._stored.facts if self._stored else None
        config = known.config if known else self._loaded().config
        self.sampling = self._request.sampling or config.sampling
        settings = {
            "command": "classify" if localize is None else "timeline",
            "schema": SCHEMA,
            "model": to_dict(config),
            "weights": known.weights_sha256 if known else self._loaded().weights_sha256,
            "question": to_dict(self._request),  # the name in status files and keys
            "localize": None if localize is None else to_dict(localize),
            "formats": list(formats),
            "top_k": top_k,
        }
        about = f"model {config.name}"
        if known is None:
            self.facts = _executor_info(settings, self.encoder, runtime, about)
        else:
            computes = _Computes(known.device, known.dtype, num_threads(runtime.threads))
            self.facts = _info(settings, computes, runtime, about)

    def _loaded(self) -> Analyzer:
        """Return the model, which is loaded when something is not stored."""
        from vtnstream.analyzer import Analyzer

        with self._loading:
            if self._analyzer is None:
                analyzer = Analyzer(self._model, runtime=self._runtime, keep_outputs=True)
                analyzer.share_threads()
                self._analyzer = analyzer
            return self._analyzer

    @property
    def encoder(self) -> Encoder:
        return self._loaded().encoder

    @property
    def part(self) -> Part:
        return Part(self._request.start, self._request.end, self._request.stream)

    @property
    def splits(self) -> bool:
        request = self._request
        return request.method == METHODS[0] and request.views is None and not request.reference

    @property
    def runtime(self) -> RuntimeConfig:
        return self._runtime

    @runtime.setter
    def runtime(self, runtime: RuntimeConfig) -> None:
        self._runtime = self._loaded().runtime = runtime

    def run(self, task: Task, progress: Progress) -> Result:
        report = self._report(task.path, progress)
        if self._top_k is not None:
            report = report.with_best(self._top_k)
        with self._writing:  # libraries for pictures and tables serve one thread at a time
            return self._written(report, task)

    def _report(self, path: str, progress: Progress) -> Report:
        if self._stored is not None:
            report = self._stored.report(path, self._request, self._localize)
            if report is not None:
                return report
        analyzer = self._loaded()
        if self._localize is None:
            return analyzer.classify(path, self._request, progress=progress)
        return analyzer.timeline(path, self._request, self._localize, progress=progress)

    def _written(self, report: Report, task: Task) -> Result:
        from vtnstream.report.formats import shows_frames
        from vtnstream.report.writer import write_reports

        frames = None
        if shows_frames(self._formats):
            from vtnstream.video.span_frames import span_reader

            frames = span_reader(task.path, report.video.stream_index)
        written = write_reports(report, self.output, self._formats, base=task.name, frames=frames)
        if written.refused and not self._every:
            reasons = "; ".join(f"no {name}: {why}" for name, why in written.refused.items())
            raise ReportError(f"{task.path}: {reasons}")
        warnings = (*report.warnings, *written.remarks)
        blocks = report.run.get("video_blocks_sha256")
        return Result(written.files, report.partial, warnings, self.output, blocks)


class ExtractExecutor:
    """The executor of ``extract``.

    Args:
        encoder, sampling: frame encoder, and selection of the frames.
        part: part of each video.
        runtime: device, dtype, cache.
        output: folder of the feature files.
        warnings: warnings about the backbone, shown once.
    """

    def __init__(
        self,
        encoder: Encoder,
        sampling: SamplingConfig,
        *,
        part: Part,
        runtime: RuntimeConfig,
        output: Path,
        warnings: Sequence[str] = (),
    ) -> None:
        from vtnstream.encoding.engines.state import EngineState

        self.encoder, self.sampling = encoder, sampling
        self._engines = EngineState()
        encoder.share_threads(runtime, self._engines)
        self.runtime, self.output = runtime, output
        self.part, self.splits = part, True
        settings = {
            "command": "extract",
            "backbone": to_dict(encoder.config),
            "preprocess": to_dict(encoder.preprocess),
            "weights": encoder.weights_sha256,
            "sampling": to_dict(sampling),
            "part": dataclasses.asdict(part),
        }
        about = f"backbone {encoder.config.name}"
        self.facts = _executor_info(settings, encoder, runtime, about, warnings)

    def run(self, task: Task, progress: Progress) -> Result:
        from vtnstream.inference.extract_file import extract_to_file
        from vtnstream.inference.request import Request

        target = self.output / file_name(task.name, FEATURES_SUFFIX)
        report = extract_to_file(
            task.path,
            self.encoder,
            self.sampling,
            target,
            request=Request(start=self.part.start, end=self.part.end, stream=self.part.stream),
            runtime=self.runtime,
            progress=progress,
            engines=self._engines,
        )
        blocks = report.run.get("video_blocks_sha256")
        return Result([target], report.partial, report.warnings, blocks_sha256=blocks)


def side_by_side(device_type: str, num_threads: int) -> int:
    """Return the number of small videos that a process handles at the same time.

    While one waits for the backbone or the disk, others are decoded: at most one more than there
    are cores. Each holds few frames.

    Args:
        device_type: of the backbone, ``cpu`` or ``cuda``.
        num_threads: threads of the backbone.
    """
    most = _SIDE_BY_SIDE[device_type]
    return most if device_type == "cuda" else min(most, 4 * num_threads)


@dataclass(frozen=True, slots=True)
class _Computes:
    """Where and how features are computed: the device with its number, precision, threads."""

    device: str
    dtype: str
    threads: int


def _executor_info(
    settings: Mapping[str, Any],
    encoder: Encoder,
    runtime: RuntimeConfig,
    about: str,
    warnings: Sequence[str] = (),
) -> ExecutorInfo:
    on = encoder.computed_on
    computes = _Computes(on.device, encoder.dtype, encoder.num_threads(runtime))
    return _info(settings, computes, runtime, about, warnings)


def _info(
    settings: Mapping[str, Any],
    computes: _Computes,
    runtime: RuntimeConfig,
    about: str,
    warnings: Sequence[str] = (),
) -> ExecutorInfo:
    """Return the information on an executor with these settings.

    Precision and backend also determine results, so they are part of the key; the device only
    changes rounding.
    """
    kind, num_devices = computes.device.partition(":")[0], 1
    if kind == "cuda":
        import torch

        num_devices = torch.cuda.device_count()
    return ExecutorInfo(
        key=settings_key({**settings, "dtype": computes.dtype, "backend": runtime.backend}),
        about=f"{about} on {computes.device} in {computes.dtype}",
        device=runtime.device if ":" in runtime.device else kind,
        num_devices=num_devices,
        warnings=tuple(warnings),
        side_by_side=side_by_side(kind, computes.threads),
    )
