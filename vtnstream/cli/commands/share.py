"""``vtnstream models card``, ``push`` and ``export``: share a model."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import click

from vtnstream.cli.framework.command import Command
from vtnstream.cli.framework.console import Console
from vtnstream.cli.framework.fields import attach, option
from vtnstream.cli.framework.progress import make_progress
from vtnstream.cli.framework.types import FolderType, complete_files
from vtnstream.cli.options import running, shared
from vtnstream.config.runtime import EXPORT_FORMATS
from vtnstream.errors import UsageError

_FOLDER = click.Path(path_type=Path)
_LICENSE = option(
    "--license",
    section="Card",
    settable=False,
    metavar="ID",
    help="Licence of the weights, such as cc-by-4.0 (SPDX) [default: not stated].",
)

_CARD_EXAMPLES = """
vtnstream models card models/surgery
vtnstream models card models/surgery --license cc-by-4.0 > models/surgery/README.md
"""


@click.command("card", cls=Command, examples=_CARD_EXAMPLES)
@click.argument("folder", type=_FOLDER)
@attach(_LICENSE)
@running.messages
@click.pass_obj
def card(console: Console, /, **values: Any) -> None:
    """Print the model card of FOLDER.

    The card is the folder's README.md; without one, it is made from the config and the training
    metrics.
    """
    from vtnstream.models.io.card import model_card

    console.out(model_card(values["folder"], license=values["license"]).rstrip("\n"))


_PUSH_EXAMPLES = """
vtnstream models push models/surgery my-org/surgery --private
vtnstream timeline operation.mp4 --model my-org/surgery
"""


@click.command("push", cls=Command, examples=_PUSH_EXAMPLES)
@click.argument("folder", type=_FOLDER)
@click.argument("name", metavar="ORG/NAME[@BRANCH]")
@attach(
    option(
        "--private",
        section="Hub",
        settable=False,
        is_flag=True,
        help="Make the repository private.",
    ),
    _LICENSE,
    running.offline,
)
@running.messages
@click.pass_obj
def push(console: Console, /, **values: Any) -> None:
    """Upload the model in FOLDER to the Hugging Face Hub: config, weights and card only.

    The card is the folder's README.md; without one, a card is made unless the repository has
    one. Log in with `hf auth login` or HF_TOKEN.
    """
    from vtnstream.models.io.hub import parse_hub_name
    from vtnstream.models.io.share import push_model

    name = parse_hub_name(values["name"])
    if name is None:
        raise UsageError(f"{values['name']}: not a Hub name: write org/name")
    url = push_model(values["folder"], name, private=values["private"], license=values["license"])
    console.out(url)
    console.say(f"try it: vtnstream timeline VIDEO --model {name}")


_EXPORT_EXAMPLES = """
vtnstream models export models/surgery -o exported --format onnx
vtnstream models export my-org/surgery -o exported
"""


@click.command("export", cls=Command, examples=_EXPORT_EXAMPLES)
@click.argument("model", shell_complete=complete_files)
@attach(
    option(
        "--output",
        "-o",
        section="Export",
        settable=False,
        required=True,
        type=FolderType(),
        metavar="DIR",
        help="Write the programs here.",
    ),
    option(
        "--format",
        section="Export",
        type=click.Choice(EXPORT_FORMATS),
        default=EXPORT_FORMATS[0],
        show_default=True,
        help="Format: torch.export (pt2), or ONNX (needs the extra 'export').",
    ),
    option(
        "--overwrite",
        section="Export",
        settable=False,
        is_flag=True,
        help="Replace programs of this format in DIR.",
    ),
    running.offline,
)
@shared.as_json
@running.messages
@click.pass_obj
def export(console: Console, /, **values: Any) -> None:
    """Export MODEL (a folder, or a name on the Hub) as two programs for other runtimes.

    `backbone` turns frames into features, `temporal` features into logits. Both take any batch
    size and length, and both are compared with the model before they are written.
    """
    folder: Path = values["output"]
    written = [folder / f"{part}.{values['format']}" for part in ("backbone", "temporal")]
    there = [path for path in written if path.exists()]
    if there and not values["overwrite"]:
        raise UsageError(f"{there[0]}: exists already; name another -o DIR, or use --overwrite")
    from vtnstream.models.io.checkpoint import load_model
    from vtnstream.models.io.export import export_model

    model = load_model(values["model"])
    progress = make_progress(console)
    try:
        programs = export_model(model, folder, format=values["format"], progress=progress)
    finally:
        progress.close()
    if values["json"]:
        documents = [{**dataclasses.asdict(p), "path": str(p.path)} for p in programs]
        console.out(json.dumps(documents, indent=2))
        return
    for program in programs:
        inputs, outputs = ", ".join(program.inputs), ", ".join(program.outputs)
        console.out(f"{program.path}: {inputs} -> {outputs}")
        console.note(f"{program.path.name}: differs from the model by {program.difference:.1e}")
