"""Options that commands share: what is asked of which videos. Their defaults, types and choices
are read from the config dataclasses, so that a number stands once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click

from vtnstream.cli.framework.fields import attach, field, option
from vtnstream.cli.framework.types import RateType, TimeType, ViewsType, complete_files
from vtnstream.config import SamplingConfig, TimelineConfig
from vtnstream.config.runtime import METHODS

F = TypeVar("F", bound=Callable[..., Any])


# ------------------------------------------------------------------------------- inputs

inputs = attach(
    click.Argument(["inputs"], nargs=-1, metavar="INPUTS...", shell_complete=complete_files),
    option("--recursive", "-r", section="Input", is_flag=True, help="Descend into directories."),
    option(
        "--files-from",
        shell_complete=complete_files,
        section="Input",
        settable=False,
        metavar="LIST",
        help="Also read names from LIST, one a line; - is standard input.",
    ),
    option(
        "--null",
        "-0",
        section="Input",
        settable=False,
        is_flag=True,
        help="Names in LIST and on standard input end with NUL (find -print0).",
    ),
)

time_range = attach(
    option(
        "--start",
        section="Time and sampling",
        type=TimeType(),
        metavar="TIME",
        help="Begin here: 90, 90s, 1:30, 00:01:30.5 or 2700f (frames).",
    ),
    option(
        "--end", section="Time and sampling", type=TimeType(), metavar="TIME", help="Stop here."
    ),
    option(
        "--stream",
        section="Time and sampling",
        type=click.IntRange(min=0),
        metavar="INDEX",
        help="Video stream, where a file has several.",
    ),
)


def sampling(of: str) -> Callable[[F], F]:
    """Which frames are looked at; ``of`` says what holds without them."""
    section = "Time and sampling"
    return attach(
        option("--fps", section=section, type=RateType(), help=f"Frames a second ({of})."),
        option(
            "--num-frames",
            section=section,
            type=click.IntRange(min=1),
            metavar="N",
            help="This many frames, evenly spaced.",
        ),
        option(
            "--frame-stride",
            section=section,
            type=click.IntRange(min=1),
            metavar="N",
            help="Every N-th frame.",
        ),
        option(
            "--sample",
            section=section,
            type=click.Choice(["all", "keyframes"]),
            help="Every frame, or keyframes only (fast).",
        ),
    )


def sampling_from(values: Mapping[str, Any], base: SamplingConfig | None) -> SamplingConfig | None:
    """The sampling that flags ask for; ``base`` where they ask for none."""
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

model = attach(
    option(
        "--model",
        "-m",
        shell_complete=complete_files,
        section="Model",
        metavar="MODEL",
        help="Model folder, or name on the Hugging Face Hub (org/name[@revision]) "
        "[default: the bundled model, which tells shots and edits].",
    ),
)

_FEATURES = option(
    "--features",
    shell_complete=complete_files,
    section="Model",
    settable=False,
    metavar="FILE",
    help="Features from `vtnstream extract` instead of decoding (one input).",
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
        help="Chunked: memory does not grow with the video. End-to-end: all frames in one pass.",
    ),
    option(
        "--whole",
        section="Model",
        is_flag=True,
        help="A ViViT with a factorised encoder reads the video as one sequence, not in clips.",
    ),
)


views = attach(
    option(
        "--views",
        section="Model",
        type=ViewsType(),
        help="Mean over clips x crops (10x3) instead of one pass over the whole video.",
    ),
)


# ----------------------------------------------------------------------------- timeline

_TIMELINE_HELP = {
    "localize": "Dense head, sliding windows, or both; auto is dense where the model has it.",
    "window": "Tokens of a sliding window; giving it adds sliding to auto "
    f"[default: {TimelineConfig.DEFAULT_WINDOW}].",
    "stride": "Tokens between windows [default: half a window].",
    "smoothing": "Smooth the scores over time.",
    "smoothing_size": "Tokens to smooth over.",
    "viterbi": "Most probable sequence, COST nats for each change of label.",
    "threshold": "Drop scores below; multi-label segments go on above.",
    "onset": "A segment starts at this score ...",
    "offset": "... and ends below this one.",
    "min_duration": "Shorter segments give way to their neighbours, in seconds.",
    "merge_gap": "Join equal labels closer than this, in seconds.",
    "nms": "Suppress overlapping segments of one class.",
    "nms_threshold": "tIoU above which segments overlap.",
    "background": "Show segments labelled background.",
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
    """The timeline options as their dataclass, which checks them together."""
    return TimelineConfig(**{name: values[name] for name in _TIMELINE_HELP})


# ------------------------------------------------------------------------------- output


def output_dir(what: str, **attributes: Any) -> click.Option:
    """The folder that a command writes to; ``what`` says what."""
    return option(
        "--output-dir",
        "-o",
        section="Output",
        type=click.Path(file_okay=False, path_type=Path),
        metavar="DIR",
        help=what,
        **attributes,
    )


overwrite = option(
    "--overwrite",
    section="Output",
    settable=False,
    is_flag=True,
    help="Replace files that are there already (never the source).",
)

video = option(
    "--video",
    section="Output",
    settable=False,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Where the video lies now (one result).",
)

results = attach(
    option(
        "--json", section="Output", is_flag=True, help="One JSON document (an array for several)."
    ),
    option(
        "--jsonl", section="Output", is_flag=True, help="One JSON event a line, as they happen."
    ),
    output_dir("Also write result files here."),
    overwrite,
    option(
        "--format",
        "-f",
        section="Output",
        multiple=True,
        metavar="NAMES",
        help="Formats of the files, such as json,csv; all writes every one [default: json].",
    ),
    option(
        "--top-k",
        section="Output",
        type=click.IntRange(min=1),
        metavar="K",
        help="Classes to give [default: 5 on a terminal, all in files and JSON].",
    ),
)


as_json = attach(option("--json", section="Output", is_flag=True, help="One JSON document."))
