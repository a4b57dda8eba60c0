"""``vtnstream models import`` and ``download``: make model folders of published weights."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vtnstream.cli.framework.command import Command
from vtnstream.cli.framework.console import Console
from vtnstream.cli.framework.fields import attach, option
from vtnstream.cli.framework.progress import make_progress
from vtnstream.cli.framework.types import FolderType
from vtnstream.cli.options import running
from vtnstream.errors import UsageError

if TYPE_CHECKING:
    from vtnstream.words.published import PublishedWords

_SECTION = "Model"

_IMPORT_EXAMPLES = """
vtnstream models import VTN_VIT_B_KINETICS.pyth -o models/kinetics
vtnstream models import checkpoint_epoch_00025.pyth -o models/mine --labels classes.txt
vtnstream models import vivit-b-16x2-kinetics400/ -o models/vivit
"""


@click.command("import", cls=Command, examples=_IMPORT_EXAMPLES)
@click.argument("checkpoint", type=click.Path(path_type=Path))
@attach(
    option(
        "--output",
        "-o",
        section=_SECTION,
        settable=False,
        required=True,
        type=FolderType(),
        metavar="FOLDER",
        help="Write the model here.",
    ),
    option(
        "--overwrite",
        section=_SECTION,
        settable=False,
        is_flag=True,
        help="Replace the model in FOLDER.",
    ),
    option(
        "--labels",
        section=_SECTION,
        settable=False,
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="File of class names, one per line [default for 400 classes: Kinetics-400].",
    ),
    option(
        "--backbone",
        section=_SECTION,
        settable=False,
        metavar="NAME",
        help="timm model of the backbone [default: ViT-B/16].",
    ),
    option(
        "--num-heads",
        section=_SECTION,
        settable=False,
        type=click.IntRange(min=1),
        metavar="N",
        help="Attention heads of the temporal encoder [default: the checkpoint's or published].",
    ),
    option(
        "--attention-window",
        section=_SECTION,
        settable=False,
        type=click.IntRange(min=2),
        metavar="N",
        help="Attention window in tokens [default: the checkpoint's or published].",
    ),
)
@running.messages
@click.pass_obj
def import_(console: Console, /, **values: Any) -> None:
    """Convert CHECKPOINT to a model folder.

    CHECKPOINT is a PySlowFast checkpoint of a VTN, or a folder of a ViViT of transformers. Every
    tensor must have a known name and shape; no code in the file is executed.
    """
    from vtnstream.labels import read_labels
    from vtnstream.models.io.pyslowfast import Choices, import_checkpoint, save_imported
    from vtnstream.models.vivit.hf import recognises

    folder: Path = values["output"]
    _refuse_model(folder, overwrite=values["overwrite"])
    if recognises(values["checkpoint"]):
        _import_vivit(values["checkpoint"], folder, values)
        console.out(str(folder))
        console.say(f"try it: vtnstream classify VIDEO --model {folder}")
        return
    choices = Choices(
        name=folder.resolve().name,
        labels=read_labels(values["labels"]) if values["labels"] else None,
        backbone=values["backbone"],
        num_heads=values["num_heads"],
        attention_window=values["attention_window"],
    )
    imported = import_checkpoint(values["checkpoint"], choices)
    save_imported(imported, folder)
    for note in imported.notes:
        console.warn(note)
    console.out(str(folder))
    console.say(f"try it: vtnstream classify VIDEO --model {folder}")


def _import_vivit(source: Path, folder: Path, values: dict[str, Any]) -> None:
    from dataclasses import replace

    from vtnstream.models.io.checkpoint import load_model, save_model

    told = [n for n in ("labels", "backbone", "num_heads", "attention_window") if values[n]]
    if told:
        flag = "--" + told[0].replace("_", "-")
        raise UsageError(f"{source}: has its own setting for {flag}: leave {flag} out")
    model = load_model(source)
    model.config = replace(model.config, name=folder.resolve().name)
    save_model(model, folder)


_DOWNLOAD_EXAMPLES = """
vtnstream models download vtn-vit-b-kinetics
vtnstream models download siglip2-base
vtnstream classify VIDEO --model vtn-vit-b-kinetics --offline
"""


@click.command("download", cls=Command, examples=_DOWNLOAD_EXAMPLES)
@click.argument("name")
@attach(running.offline)
@running.messages
@click.pass_obj
def download(console: Console, /, **values: Any) -> None:
    """Download the published model NAME (see `models list`) to the user's cache. Its size
    and licence are printed first.

    Run the same command again to resume an interrupted download. The model's folder is printed;
    from then on --model NAME needs no network.
    """
    from vtnstream.words.published import published_words

    words = published_words().get(values["name"])
    if words is not None:
        _download_words(words, console)
        return
    from vtnstream.models.io.download import download_model

    progress = make_progress(console)
    try:
        folder = download_model(values["name"], progress=progress)
    finally:
        progress.close()
    console.out(str(folder))
    console.say(f"try it: vtnstream classify VIDEO --model {values['name']}")


def _download_words(words: PublishedWords, console: Console) -> None:
    from vtnstream.words.model import download_words

    source = words.source
    console.say(f"{words.name}: {source.size}, {source.license}, from {source.repository}")
    folder = download_words(words.name)
    console.out(str(folder))
    console.say(f"pinned to commit {words.commit}")
    console.say(f'try it: vtnstream search "a dog runs" VIDEO --model {words.name}')


def _refuse_model(folder: Path, *, overwrite: bool) -> None:
    """Check that no model is overwritten unless ``overwrite`` is set.

    Raises:
        UsageError: the folder has a model.
    """
    if not overwrite and (folder / "config.json").exists():
        raise UsageError(
            f"{folder}: has a model already; name another folder with -o, or use --overwrite"
        )
