"""The code that ``classify`` and ``timeline`` share: run one model over many videos."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from vtnstream.cli.delivery import make_delivery
from vtnstream.cli.framework.console import Console
from vtnstream.cli.framework.exit_codes import ExitCode
from vtnstream.cli.framework.process_settings import loading
from vtnstream.cli.framework.progress import CommandProgress
from vtnstream.cli.options import running, shared
from vtnstream.cli.options.input_list import resolve
from vtnstream.cli.session import for_each
from vtnstream.config import TimelineConfig
from vtnstream.config.shipped import BUNDLED_SAYS
from vtnstream.errors import UsageError

if TYPE_CHECKING:
    from vtnstream.types import Partial


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
    }


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
    if values["features"] is not None and len(inputs.items) != 1:
        raise UsageError("--features is for one video: name one input")
    runtime = running.runtime_from(values)
    delivery = make_delivery(values, console, inputs, timeline=localize is not None)
    with loading():
        from vtnstream.analyzer import Analyzer
        from vtnstream.inference.request import Request

        request = Request(**request_from(values))
        analyzer = Analyzer(values["model"], runtime=runtime)
    console.note(f"model {analyzer.model.config.name} from {values['model'] or 'the package'}")
    if values["model"] is None:
        console.say(BUNDLED_SAYS)

    with delivery:

        def work(path: str, progress: CommandProgress) -> Partial | None:
            delivery.begin(path)
            if localize is None:
                report = analyzer.classify(path, request, progress=progress)
            else:
                report = analyzer.timeline(path, request, localize, progress=progress)
            for warning in report.warnings:
                console.warn(f"{path}: {warning}")
            delivery.deliver(report)
            return report.partial

        return for_each(inputs, work, console, on_failure=delivery.fail)
