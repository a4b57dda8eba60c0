"""``vtnstream train``: train a model on one's own labels."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from vtnstream.cli.comparison import print_comparison
from vtnstream.cli.epochs import EpochTable
from vtnstream.cli.framework.command import Command
from vtnstream.cli.framework.console import Console
from vtnstream.cli.framework.fields import attach, option
from vtnstream.cli.framework.process_settings import keep_freed_memory
from vtnstream.cli.framework.progress import make_progress
from vtnstream.cli.framework.tables import print_facts
from vtnstream.cli.framework.types import AssignmentType, complete_files
from vtnstream.cli.options import running, shared
from vtnstream.cli.options.backbone import backbone_options
from vtnstream.config import SamplingConfig, TrainConfig
from vtnstream.config.model import FEATURE_NORMS
from vtnstream.config.train import ENSEMBLES, RECIPES, TASKS, UNLABELLED
from vtnstream.datasets.annotations import FORMATS
from vtnstream.errors import UsageError
from vtnstream.replacing import check_folder
from vtnstream.timecode import format_time
from vtnstream.wording import plural

if TYPE_CHECKING:
    from vtnstream.training.run import TrainResult

_EXAMPLES = """
vtnstream train labels.csv -o models/mine --backbone resnet50 --pretrained
vtnstream train segments.csv -o models/phases --backbone vit_small_patch16_224 --pretrained --fps 1
vtnstream train --from-studio results -o models/mine
vtnstream train recipe.toml --epochs 80 --set optim.batch_size=8 --set temporal.num_layers=3
"""
_SECTION = "Training"
_DEFAULTS = TrainConfig()
_FLAGS: Mapping[str, tuple[str, Any, str]] = {
    "task": ("task", click.Choice(TASKS), "Classify whole videos, moments or both"),
    "recipe": ("recipe", click.Choice(RECIPES), "Recipe for few videos; auto compares them"),
    "search_time": (
        "search_seconds",
        float,
        "Time limit in seconds of comparing recipes; 0 means none",
    ),
    "ensemble": ("ensemble", click.Choice(ENSEMBLES), "Networks whose probabilities are averaged"),
    "annotation_format": (
        "data.format",
        click.Choice(["auto", *FORMATS]),
        f"Format of the annotations: auto, {', '.join(FORMATS)}",
    ),
    "videos": ("data.videos", str, "Folder of the videos, if not that of the annotations"),
    "epochs": ("optim.epochs", int, "Passes over the training videos"),
    "learning_rate": ("optim.learning_rate", float, "Peak learning rate"),
    "feature_norm": ("feature_norm", click.Choice(FEATURE_NORMS), "Normalisation of the features"),
    "validation": ("data.validation", float, "Share of the videos held out for validation"),
    "validation_fold": ("data.validation_fold", str, "Fold held out for validation"),
    "unlabelled": (
        "data.unlabelled",
        click.Choice(UNLABELLED),
        "Treat time without a label as the class background, or ignore it",
    ),
    "max_tokens": ("data.max_tokens", int, "Crop longer sequences at random to N tokens"),
    "clip_tokens": ("data.clip_tokens", int, "Train on clips of N tokens; 0 uses whole videos"),
    "on_bad_video": (
        "data.on_bad_video",
        click.Choice(["stop", "skip"]),
        "Stop at an unreadable video, or skip it",
    ),
    "seed": ("seed", int, "Random seed of weights, order and crops"),
}
"""Option -> (key of the config, type, help)."""
_MOST_CHOICES = 5
_PREPROCESS = ("size", "resize", "crop", "interpolation", "mean", "std")


def _default(key: str) -> Any:
    value: Any = _DEFAULTS
    for part in key.split("."):
        value = getattr(value, part)
    return value


def _flag(name: str, key: str, kind: Any, text: str) -> click.Option:
    default = _default(key)
    shown = "" if default is None else f" [default: {default}]"
    metavar = {int: "N", float: "X", str: "NAME"}.get(kind)
    if isinstance(kind, click.Choice) and len(kind.choices) > _MOST_CHOICES:
        metavar = "NAME"  # the help lists them
    flag = "--" + name.replace("_", "-")
    return option(flag, section=_SECTION, type=kind, metavar=metavar, help=f"{text}{shown}.")


@click.command(cls=Command, examples=_EXAMPLES)
@click.argument(
    "source", required=False, metavar="ANNOTATIONS|RECIPE", shell_complete=complete_files
)
@attach(
    option(
        "--from-studio",
        section=_SECTION,
        settable=False,
        type=click.Path(file_okay=False, path_type=Path),
        metavar="FOLDER",
        help="Train on the corrections that were made in `vtnstream studio FOLDER`, in place of "
        "ANNOTATIONS.",
    ),
    option(
        "--studio-videos",
        section=_SECTION,
        settable=False,
        multiple=True,
        type=click.Path(file_okay=False, path_type=Path),
        metavar="FOLDER",
        help="With --from-studio: folder of videos that lie elsewhere; may be repeated.",
    ),
    option(
        "--output",
        "-o",
        section=_SECTION,
        settable=False,
        metavar="FOLDER",
        help="Write the model here.",
    ),
    option(
        "--overwrite",
        section=_SECTION,
        settable=False,
        is_flag=True,
        help="Replace the model or unfinished run in FOLDER.",
    ),
    option(
        "--preset", section=_SECTION, metavar="NAME", help="Preset to start from (see models list)."
    ),
    *(_flag(name, *about) for name, about in _FLAGS.items()),
    option(
        "--exclude-fold",
        section=_SECTION,
        multiple=True,
        metavar="NAME",
        help="Fold to leave out of training and validation; may be repeated.",
    ),
    option(
        "--set",
        section=_SECTION,
        type=AssignmentType(),
        multiple=True,
        metavar="KEY=VALUE",
        help="Any other setting, such as optim.batch_size=8; may be repeated.",
    ),
)
@backbone_options
@shared.sampling(_DEFAULTS.sampling.describe())
@shared.as_json
@running.runtime
@running.messages
@click.pass_context
def train(ctx: click.Context, /, **values: Any) -> None:
    """Train a model on the frozen features of a backbone, or on pixels.

    ANNOTATIONS is a CSV with a header: path,label for classes of videos, or
    path,start,end,label for segments; the columns fold, scene and split are optional. PySlowFast
    lists, Kinetics CSV, ActivityNet JSON, MS-TCN and Cholec80 folders, and one folder per class
    are recognised too. RECIPE is a TOML file with the path of the annotations and any settings;
    flags override it, and --set overrides both. Run the same command again to resume an
    interrupted run.

    With fewer than some 500 videos and default temporal and optim settings, recipes are compared
    by cross-validation on the stored features, and the best one is used (--recipe).
    """
    from vtnstream.training.accelerator import is_main_process
    from vtnstream.training.run import train as run_training
    from vtnstream.training.settings import train_config

    console: Console = ctx.obj
    values["source"] = _source(console, values)
    recipe = values["source"] if values["source"].lower().endswith(".toml") else None
    overrides = _overrides(ctx, values, over_recipe=recipe is not None)
    if recipe is None:
        overrides["annotations"] = values["source"]
    config = train_config(recipe, overrides)
    if not config.output:
        raise UsageError("no output folder for the model: name one with -o FOLDER")
    folder = Path(config.output)
    check_folder(folder)
    unfinished = (folder / "unfinished.pt").exists()
    if not values["overwrite"] and not unfinished and (folder / "config.json").exists():
        raise UsageError(
            f"{config.output}: has a model already; name another folder with -o, or use --overwrite"
        )
    keep_freed_memory()
    progress = make_progress(console)
    try:
        result = run_training(
            config,
            runtime=running.runtime_from(values),
            progress=progress,
            on_epoch=EpochTable(console, config.optim.epochs).add,
            restart=values["overwrite"],
        )
    finally:
        progress.close()
    if not is_main_process():
        return
    if values["json"]:
        console.out(json.dumps(_document(result), indent=2))
    else:
        print_comparison(console, result.search)
        print_facts(console, facts_of(result))
        console.say(f"try it: vtnstream {_command(result)} VIDEO --model {result.folder}")


def _source(console: Console, values: Mapping[str, Any]) -> str:
    """The annotations: as named, or written from the corrections of a studio."""
    folder: Path | None = values["from_studio"]
    source: str | None = values["source"]
    if (folder is None) == (source is None):
        raise UsageError("name the ANNOTATIONS (or a RECIPE), or --from-studio FOLDER")
    if folder is None:
        assert source is not None
        return source
    if not values["output"]:
        raise UsageError("no output folder for the model: name one with -o FOLDER")
    check_folder(Path(values["output"]))
    from vtnstream.studio.offline import corrections_for_training

    target = Path(values["output"]).with_suffix(".annotations.csv")
    count = corrections_for_training(folder, values["studio_videos"], target)
    console.say(f"{target}: the corrections of {plural(count, 'video')}")
    return str(target)


def _overrides(
    ctx: click.Context, values: Mapping[str, Any], *, over_recipe: bool
) -> dict[str, Any]:
    """Return the settings that the options make, as dotted keys.

    A recipe is named on the command line, so it overrides options set in config files.
    """
    given = {name: value for name, value in values.items() if _counts(ctx, name, over_recipe)}
    found: dict[str, Any] = {about[0]: given.get(name) for name, about in _FLAGS.items()}
    found["output"], found["preset"] = given.get("output"), given.get("preset")
    found["weights"] = given.get("weights")
    found["pretrained"] = given.get("pretrained") or None
    found["backbone.name"] = given.get("backbone")
    if arguments := given.get("backbone_arg"):
        found["backbone.arguments"] = dict(arguments)
    if folds := given.get("exclude_fold"):
        found["data.exclude_folds"] = list(folds)
    for name in _PREPROCESS:
        value = given.get(name)
        found[f"preprocess.{name}"] = list(value) if isinstance(value, tuple) else value
    sampling = shared.sampling_from({**_NO_SAMPLING, **given}, None)
    found.update(_sampling_keys(sampling))
    found.update(values["set"])
    return {key: value for key, value in found.items() if value is not None}


_NO_SAMPLING = dict.fromkeys(("fps", "num_frames", "frame_stride", "sample"))


def _counts(ctx: click.Context, name: str, over_recipe: bool) -> bool:
    return not over_recipe or ctx.get_parameter_source(name) in (
        ParameterSource.COMMANDLINE,
        ParameterSource.ENVIRONMENT,
    )


def _sampling_keys(sampling: SamplingConfig | None) -> dict[str, Any]:
    if sampling is None:
        return {}
    return {f"sampling.{key}": value for key, value in sampling.key().items()}


def _command(result: TrainResult) -> str:
    return "timeline" if result.task == "dense" else "classify"


def facts_of(result: TrainResult) -> list[tuple[str, str]]:
    """Return what a training run prints after it, as names and values."""
    best = result.best
    scores = ", ".join(f"{name} {value:.3g}" for name, value in best.validation.items())
    early = ", stopped early" if result.stopped_early else ""
    epochs = f"{best.epoch} of {len(result.records)}{early}"
    how = (
        " (of all held-out videos together; the table has means of folds)" if result.in_turn else ""
    )
    members = result.search.get("members", 1)
    team = f", the mean of {members} networks" if members > 1 else ""
    return [
        ("model", str(result.folder)),
        ("recipe", f"{result.recipe}{team}"),
        ("task", f"{result.task}: {', '.join(result.labels)}"),
        ("videos", _videos(result)),
        ("held out", result.split),
        *([("unlabelled", result.unlabelled)] if result.unlabelled else []),
        *([] if result.search else [("best epoch", epochs)]),
        ("loss", f"{best.loss:.3g}"),
        ("validation", f"{scores or 'none'}{how}"),
        ("time", format_time(result.seconds, digits=0)),
    ]


def _videos(result: TrainResult) -> str:
    held = f"{result.num_validation} held out"
    if not result.in_turn:
        return f"{result.num_train} for training, {held}"
    if result.num_validation == result.num_train:
        held = "each held out once"
    else:
        held = f"{result.num_validation} of them held out once"
    return f"{result.num_train} for the model, {held} to compare recipes"


def _document(result: TrainResult) -> dict[str, Any]:
    document = dataclasses.asdict(result)
    return {**document, "folder": str(result.folder)}
