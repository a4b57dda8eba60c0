"""Options that several commands share: inputs, model, sampling, timeline and output. Their
defaults, types and choices come from the config dataclasses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click

from vtnstream.cli.framework.fields import attach, field, option
from vtnstream.cli.framework.types import (
    FolderType,
    RateType,
    TimeType,
    ViewsType,
    complete_files,
    complete_formats,
)
from vtnstream.config import SamplingConfig, TimelineConfig
from vtnstream.config.runtime import METHODS

_F = TypeVar("_F", bound=Callable[..., Any])


# ------------------------------------------------------------------------------- inputs

inputs = attach(
    click.Argument(["inputs"], nargs=-1, metavar="INPUTS...", shell_complete=complete_files),
    option("--recursive", "-r", section="Input", is_flag=True, help="Include subdirectories."),
    option(
        "--files-from",
        shell_complete=complete_files,
        section="Input",
        settable=False,
        metavar="LIST",
        help="Also read input names from LIST, one per line; - is standard input.",
    ),
    option(
        "--null",
        "-0",
        section="Input",
        settable=False,
        is_flag=True,
        help="Names in LIST and on standard input are separated by NUL (find -print0).",
    ),
)

time_range = attach(
    option(
        "--start",
        section="Time and sampling",
        type=TimeType(),
        metavar="TIME",
        help="Start of the part to read: 90, 90s, 1:30, 00:01:30.5 or 2700f (frames).",
    ),
    option(
        "--end",
        section="Time and sampling",
        type=TimeType(),
        metavar="TIME",
        help="End of the part to read.",
    ),
    option(
        "--stream",
        section="Time and sampling",
        type=click.IntRange(min=0),
        metavar="INDEX",
        help="Index of the video stream, if the file has several.",
    ),
)


def sampling(of: str) -> Callable[[_F], _F]:
    """Return the options that select the frames; ``of`` describes the default rate."""
    section = "Time and sampling"
    return attach(
        option(
            "--fps", section=section, type=RateType(), help=f"Frames per second [default: {of}]."
        ),
        option(
            "--num-frames",
            section=section,
            type=click.IntRange(min=1),
            metavar="N",
            help="Use N evenly spaced frames.",
        ),
        option(
            "--frame-stride",
            section=section,
            type=click.IntRange(min=1),
            metavar="N",
            help="Use every N-th frame.",
        ),
        option(
            "--sample",
            section=section,
            type=click.Choice(["all", "keyframes"]),
            help="Use all frames, or keyframes only (fast).",
        ),
    )


def sampling_from(values: Mapping[str, Any], base: SamplingConfig | None) -> SamplingConfig | None:
    """Return the sampling that the flags select; ``base`` if they select none."""
    if values["fps"] is not None:
        return SamplingConfig(kind="rate", fps=values["fps"])
    if values["num_frames"] is not None:
        return SamplingConfig(kind="uniform", num_frames=values["num_frames"])
    if values["frame_stride"] is not None:
        return SamplingConfig(kind="stride", stride=values["frame_stride"])
    if values["sample"] is not None:
        return SamplingConfig(kind=values["sample"])
    return base


# -------------------------------------------------------------------------------- model


def model_or(default: str) -> Callable[[Any], Any]:
    """Return the option ``--model`` of a command that uses ``default`` without it."""
    return attach(
        option(
            "--model",
            "-m",
            shell_complete=complete_files,
            section="Model",
            metavar="MODEL",
            help="Model folder, or name on the Hugging Face Hub (org/name[@revision]) "
            f"[default: {default}].",
        ),
    )


model = model_or("the bundled model of shots and edits")

_FEATURES = option(
    "--features",
    shell_complete=complete_files,
    section="Model",
    settable=False,
    metavar="FILE",
    help="Read features from a file of `vtnstream extract` instead of decoding (one input).",
)
features = attach(_FEATURES)

analysis = attach(
    _FEATURES,
    option(
        "--method",
        section="Model",
        type=click.Choice(METHODS),
        default=METHODS[0],
        show_default=True,
        help="chunked: memory does not grow with the video; end-to-end: all frames in one pass.",
    ),
    option(
        "--whole",
        section="Model",
        is_flag=True,
        help="Factorised ViViT: read the video as one sequence instead of clips.",
    ),
)


views = attach(
    option(
        "--views",
        section="Model",
        type=ViewsType(),
        help="Average over clips x crops (10x3) instead of one pass over the whole video.",
    ),
)


reference = attach(
    option(
        "--reference-preprocess",
        section="Model",
        is_flag=True,
        help="Read and prepare frames as PySlowFast does, bit for bit, for comparisons.",
    ),
)


# ----------------------------------------------------------------------------- timeline

_TIMELINE_HELP = {
    "localize": "Dense head, sliding windows, or both; auto uses the dense head if there is one.",
    "window": "Length of a sliding window in tokens, which are sampled frames. A model with a "
    "dense head also reports windows if this is given; others always do "
    f"[default: {TimelineConfig.DEFAULT_WINDOW}].",
    "stride": "Tokens between windows [default: half a window].",
    "smoothing": "Filter that smooths the scores over time.",
    "smoothing_size": "Length of that filter in tokens.",
    "viterbi": "Find the most probable sequence at COST nats for each change of label.",
    "threshold": "Drop segments with a lower score; multi-label segments last while above it. "
    "Models of shots drop cuts with a lower score and transitions that stay below it, never shots.",
    "sensitivity": "How readily the bundled model reports cuts and transitions, 0 to 1 "
    "[default: 0.5].",
    "onset": "Score at which a segment starts; it lasts down to --offset.",
    "offset": "Score below which a segment ends.",
    "min_duration": "Merge segments shorter than this into their neighbours.",
    "merge_gap": "Join segments of one label with a shorter gap between them.",
    "nms": "Non-maximum suppression of overlapping segments of one class.",
    "nms_threshold": "tIoU above which segments count as overlapping.",
    "background": "Also report segments labelled background.",
}
_TIMELINE_METAVARS = {"viterbi": "COST", "min_duration": "SECONDS", "merge_gap": "SECONDS"}

timeline = attach(
    *(
        field(
            TimelineConfig,
            name,
            section="Timeline",
            help=text,
            metavar=_TIMELINE_METAVARS.get(name),
        )
        for name, text in _TIMELINE_HELP.items()
    )
)


def timeline_from(values: Mapping[str, Any]) -> TimelineConfig:
    """Return the timeline options as their dataclass, which checks them together."""
    return TimelineConfig(**{name: values[name] for name in _TIMELINE_HELP})


# ------------------------------------------------------------------------------- output


def output_dir(
    what: str, *, printing: bool = False, file: bool = False, **attributes: Any
) -> click.Option:
    """Return the option for the output folder of a command.

    Args:
        what: the help text.
        printing: whether ``-`` prints one result instead.
        file: whether the command can write one file instead, which then may exist.
        attributes: of the option.
    """
    return option(
        "--output-dir",
        "-o",
        section="Output",
        type=FolderType(printing=printing, file=file),
        metavar="DIR",
        help=what,
        **attributes,
    )


overwrite = option(
    "--overwrite",
    section="Output",
    settable=False,
    is_flag=True,
    help="Replace existing files (never the source video).",
)

video = option(
    "--video",
    section="Output",
    settable=False,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Current path of the video (one result).",
)

results = attach(
    option(
        "--json",
        section="Output",
        is_flag=True,
        help="Print one JSON document (an array for several inputs).",
    ),
    option(
        "--jsonl",
        section="Output",
        is_flag=True,
        help="Print one JSON event per line as it happens.",
    ),
    output_dir("Also write result files here; - prints one format instead.", printing=True),
    overwrite,
    option(
        "--format",
        "-f",
        section="Output",
        multiple=True,
        shell_complete=complete_formats,
        metavar="NAMES",
        help="Formats of the result files, such as json,csv, or all [default: json]; without -o, "
        "print one.",
    ),
    option(
        "--top-k",
        section="Output",
        type=click.IntRange(min=1),
        metavar="K",
        help="Number of classes [default: 5 on a terminal, all in files and JSON].",
    ),
)


as_json = attach(option("--json", section="Output", is_flag=True, help="Print one JSON document."))
