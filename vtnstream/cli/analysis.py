"""The code that commands share which run one model over many videos."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from vtnstream.cli.ahead import Ahead
from vtnstream.cli.delivery import make_delivery
from vtnstream.cli.framework.console import Console
from vtnstream.cli.framework.exit_codes import ExitCode
from vtnstream.cli.framework.process_settings import loading
from vtnstream.cli.framework.progress import CommandProgress
from vtnstream.cli.options import running, shared
from vtnstream.cli.options.input_list import require_one_video, resolve
from vtnstream.cli.session import for_each
from vtnstream.config import TimelineConfig
from vtnstream.config.shipped import BUNDLED_MODEL, BUNDLED_SAYS
from vtnstream.progress import Progress

if TYPE_CHECKING:
    from vtnstream.analyzer import Analyzer
    from vtnstream.config import RuntimeConfig
    from vtnstream.config.summary import SummaryConfig
    from vtnstream.inference.request import Request
    from vtnstream.types import AttentionMap, Partial, Report


def request_from(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that make a :class:`vtnstream.inference.request.Request`, as its
    fields."""
    return {
        "sampling": shared.sampling_from(values, None),
        "start": values["start"],
        "end": values["end"],
        "features": values.get("features"),
        "method": values["method"],
        "stream": values["stream"],
        "views": values.get("views"),
        "whole": values["whole"],
        "reference": values.get("reference_preprocess", False),
        "frame_scores": wants_frame_scores(values),
    }


def wants_frame_scores(values: Mapping[str, Any]) -> bool:
    """Return whether a format of ``--format`` holds the scores of each frame."""
    named = (part.strip() for name in values["format"] or () for part in name.split(","))
    return "stats" in named


class BundledNotice:
    """Says once, when there is a result, what the bundled model is for; nothing of another model.

    It is not said before, because it would hide the error of an input.

    Args:
        console: prints it.
        model: as the user named it; None is the bundled one.
    """

    def __init__(self, console: Console, model: str | None) -> None:
        self._console, self._is_due = console, model is None

    def __call__(self) -> None:
        if self._is_due:
            self._console.say(BUNDLED_SAYS)
        self._is_due = False


class Answers:
    """The reports of one model: from the store where everything is stored, else by the model,
    which is loaded when the first video needs it.

    Args:
        model: as the user named it; None is the bundled one.
        request, localize: the question.
        runtime: device, dtype, cache.
        summary: how to select the best parts along the timeline; None keeps all segments.

    Attributes:
        config: of the model.
    """

    def __init__(
        self,
        model: str | None,
        request: Request,
        localize: TimelineConfig | None,
        runtime: RuntimeConfig,
        summary: SummaryConfig | None = None,
    ) -> None:
        from vtnstream.inference.stored_answers import StoredAnswers

        self._model, self._runtime = model, runtime
        self._request, self._localize, self._summary = request, localize, summary
        self._analyzer: Analyzer | None = None
        self._shares_threads = False
        self._lock = threading.Lock()
        self._stored = StoredAnswers.of(model, BUNDLED_MODEL if model is None else model, runtime)
        config = self._stored.facts.config if self._stored else self._loaded().config
        self.config = config

    def share_threads(self) -> None:
        """Let :meth:`report` be called in several threads at the same time."""
        self._shares_threads = True

    def report(self, path: str, progress: Progress) -> Report:
        """Answer for one video."""
        if self._stored is not None:
            report = self._stored.report(path, self._request, self._localize, self._summary)
            if report is not None:
                return report
        analyzer = self._loaded()
        if self._localize is None:
            return analyzer.classify(path, self._request, progress=progress)
        if self._summary is not None:
            return analyzer.summarize(
                path, self._request, self._localize, self._summary, progress=progress
            )
        return analyzer.timeline(path, self._request, self._localize, progress=progress)

    def attention(self, path: str, progress: Progress) -> tuple[Report, AttentionMap]:
        """Return the classes of one video, and the attention of [CLS]."""
        if self._stored is not None:
            found = self._stored.attention(path, self._request)
            if found is not None:
                return found
        return self._loaded().attention(path, self._request, progress=progress)

    def _loaded(self) -> Analyzer:
        with self._lock:
            if self._analyzer is None:
                with loading():
                    from vtnstream.analyzer import Analyzer

                    made = Analyzer(self._model, runtime=self._runtime, keep_outputs=True)
                    made.prepare(self._request)
                self._analyzer = made
            if self._shares_threads:
                self._analyzer.share_threads()
                self._shares_threads = False
            return self._analyzer


def analyze_inputs(
    console: Console, values: Mapping[str, Any], localize: TimelineConfig | None
) -> ExitCode:
    """Run a model over every input and deliver the reports.

    Args:
        console: prints the messages.
        values: the command's options.
        localize: settings of the timeline; None to predict only the class.
    """
    inputs = resolve(values)
    require_one_video(values, inputs)
    runtime = running.runtime_from(values)
    delivery = make_delivery(values, console, inputs, timeline=localize is not None)
    with loading():
        from vtnstream.inference.request import Request

        request = Request(**request_from(values))
        answers = Answers(values["model"], request, localize, runtime)
    console.note(f"model {answers.config.name} from {values['model'] or 'the package'}")
    say_once = BundledNotice(console, values["model"])

    with delivery, Ahead(answers.report, inputs.items) as ahead:
        if ahead.is_used:
            answers.share_threads()

        def work(path: str, progress: CommandProgress) -> Partial | None:
            delivery.begin(path)
            report = ahead.result(path, progress)
            say_once()
            for warning in report.warnings:
                console.warn(f"{path}: {warning}")
            delivery.deliver(report)
            return report.partial

        return for_each(inputs, work, console, on_failure=delivery.fail)
