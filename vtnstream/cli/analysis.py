"""What ``classify`` and ``timeline`` share: one model, many videos, results as asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from vtnstream.cli import options
from vtnstream.cli.console import Console
from vtnstream.cli.delivery import make_delivery
from vtnstream.cli.exit_codes import ExitCode
from vtnstream.cli.inputs import resolve
from vtnstream.cli.progress import CommandProgress
from vtnstream.cli.session import for_each
from vtnstream.config import TimelineConfig
from vtnstream.errors import UsageError

if TYPE_CHECKING:
    from vtnstream.models.vtn import VTN
    from vtnstream.types import Partial

NO_MODEL = (
    "no model: try `vtnstream demo`, make one of your own labels with `vtnstream train`, or name "
    "one with --model, VTNSTREAM_MODEL or in vtnstream.toml"
)


def analyze_inputs(
    console: Console, values: Mapping[str, Any], localize: TimelineConfig | None
) -> ExitCode:
    """Run a model over every input and hand out the reports.

    Args:
        console: where to.
        values: the command's options.
        localize: how to make a timeline; None for the class alone.
    """
    inputs = resolve(values)
    if values["model"] is None:
        raise UsageError(NO_MODEL)
    if values["features"] is not None and len(inputs.items) != 1:
        raise UsageError("--features belongs to one video: name one input")
    shared = {
        "sampling": options.sampling_from(values, None),
        "start": values["start"],
        "end": values["end"],
        "runtime": options.runtime_from(values),
        "features": values["features"],
        "method": values["method"],
        "stream": values["stream"],
    }
    delivery = make_delivery(values, console, inputs)
    model = load(values, console)
    from vtnstream import api

    with delivery:

        def work(path: str, progress: CommandProgress) -> Partial | None:
            common: dict[str, Any] = {**shared, "model": model, "progress": progress}
            delivery.begin(path)
            if localize is None:
                report = api.classify(path, **common)
            else:
                report = api.timeline(path, options=localize, **common)
            for warning in report.warnings:
                console.warn(f"{path}: {warning}")
            delivery.deliver(report)
            return report.partial

        return for_each(inputs, work, console, on_failure=delivery.fail)


def load(values: Mapping[str, Any], console: Console) -> VTN:
    """The model of ``--model``, once for all inputs.

    Raises:
        ModelError: it cannot be used.
    """
    import torch

    from vtnstream.models.checkpoint import load_model

    if values["threads"] is not None:
        torch.set_num_threads(values["threads"])
    model = load_model(values["model"])
    console.note(f"model {model.config.name} from {values['model']}")
    return model
