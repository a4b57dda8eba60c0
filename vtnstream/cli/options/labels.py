"""``--labels``: words or examples in place of a trained model's classes."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from typing import TYPE_CHECKING, Any

from vtnstream.cli.delivery import make_delivery
from vtnstream.cli.framework.console import Console
from vtnstream.cli.framework.exit_codes import ExitCode
from vtnstream.cli.framework.fields import attach, option
from vtnstream.cli.framework.process_settings import loading
from vtnstream.cli.framework.progress import CommandProgress, make_progress
from vtnstream.cli.options import running
from vtnstream.cli.options.backbone import backbone_source
from vtnstream.cli.options.input_list import require_one_video, resolve
from vtnstream.cli.session import deliver_each
from vtnstream.config import TimelineConfig
from vtnstream.errors import UsageError

if TYPE_CHECKING:
    from vtnstream.search.labeller import Labeller
    from vtnstream.search.reading import Part
    from vtnstream.types import Report

_SECTION = "Labels"
_OF_A_HEAD = ("views", "whole", "reference_preprocess")
_OF_A_BACKBONE = ("backbone", "backbone_arg", "weights", "pretrained")
_NATIVE_PREPROCESS = dict.fromkeys(
    ("mean", "std", "size", "width", "resize", "crop", "interpolation")
)

labels = attach(
    option(
        "--labels",
        section=_SECTION,
        settable=False,
        metavar="LABELS",
        help="Use words instead of a trained model's classes: 'goal; corner; replay', or a file "
        "with one label per line: name = prompt | prompt | @VIDEO@START-END.",
    ),
    option(
        "--multi-label",
        section=_SECTION,
        settable=False,
        is_flag=True,
        help="With --labels: labels may overlap; each is scored by itself.",
    ),
    *backbone_source(section=_SECTION, settable=False),
)


def label_inputs(
    console: Console, values: Mapping[str, Any], localize: TimelineConfig | None
) -> ExitCode:
    """Label every input with words or examples, and deliver the reports.

    Args:
        console: prints the messages.
        values: the command's options.
        localize: settings of the timeline; None to predict only the classes.

    Raises:
        UsageError: wrong labels, or an option of a trained head.
    """
    inputs = resolve(values)
    require_one_video(values, inputs)
    delivery = make_delivery(values, console, inputs, timeline=localize is not None)
    labeller = make_labeller(console, values, localize)

    part = part_from(values)

    def ask(path: str, progress: CommandProgress) -> Report:
        return labeller.label(path, localize, part, progress=progress)

    return deliver_each(inputs, ask, delivery, console)


def part_from(values: Mapping[str, Any]) -> Part:
    """Return the part of the videos that the options select."""
    from vtnstream.search.reading import Part

    return Part(values["start"], values["end"], values["stream"], values["features"])


def make_labeller(
    console: Console, values: Mapping[str, Any], localize: TimelineConfig | None
) -> Labeller:
    """Prepare the labels of the options.

    Raises:
        UsageError: wrong labels, or an option of a trained head.
    """
    from vtnstream.words.queries import read_labels

    _refuse_head_options(values)
    named = read_labels(values["labels"])
    runtime = running.runtime_from(values)
    with loading():
        from vtnstream.cli.options.space import prepare_space
        from vtnstream.search.labeller import Labeller, check_options

        if localize is not None:
            check_options(localize)
        space = prepare_space({**_NATIVE_PREPROCESS, **values}, console)
    with closing(make_progress(console)) as progress:
        return Labeller(
            space, named, multi_label=values["multi_label"], runtime=runtime, progress=progress
        )


def check_unlabelled(values: Mapping[str, Any]) -> None:
    """Check the options of a run without ``--labels``.

    Raises:
        UsageError: an option that belongs to ``--labels`` is given.
    """
    for name in ("multi_label", *_OF_A_BACKBONE):
        if values[name]:
            flag = "--" + name.replace("_", "-")
            raise UsageError(f"{flag} needs --labels: leave it out for a trained model")


def _refuse_head_options(values: Mapping[str, Any]) -> None:
    given = [name for name in _OF_A_HEAD if values.get(name)]
    if values["method"] != "chunked":
        given.append("method")
    if given:
        raise UsageError(
            f"--{given[0].replace('_', '-')} cannot be used with --labels: leave one of them out"
        )
