"""``vtnstream models card`` and ``push``: handing a model on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from vtnstream.cli import options
from vtnstream.cli.command import Command
from vtnstream.cli.console import Console
from vtnstream.cli.fields import attach, option
from vtnstream.errors import UsageError

_FOLDER = click.Path(path_type=Path)
_LICENSE = option(
    "--license",
    section="Card",
    settable=False,
    metavar="ID",
    help="Licence of the weights, such as cc-by-4.0 (SPDX) [default: not stated].",
)

CARD_EXAMPLES = """
vtnstream models card models/surgery
vtnstream models card models/surgery --license cc-by-4.0 > models/surgery/README.md
"""


@click.command("card", cls=Command, examples=CARD_EXAMPLES)
@click.argument("folder", type=_FOLDER)
@attach(_LICENSE)
@options.speech
@click.pass_obj
def card(console: Console, /, **values: Any) -> None:
    """Print the card of the model in FOLDER: its README.md, or one made of its config and
    training figures."""
    from vtnstream.models.card import model_card

    console.out(model_card(values["folder"], license=values["license"]).rstrip("\n"))


PUSH_EXAMPLES = """
vtnstream models push models/surgery my-org/surgery --private
vtnstream timeline operation.mp4 --model my-org/surgery
"""


@click.command("push", cls=Command, examples=PUSH_EXAMPLES)
@click.argument("folder", type=_FOLDER)
@click.argument("name", metavar="ORG/NAME[@BRANCH]")
@attach(
    option(
        "--private",
        section="Hub",
        settable=False,
        is_flag=True,
        help="Only you and your organisation see it.",
    ),
    _LICENSE,
    options.offline,
)
@options.speech
@click.pass_obj
def push(console: Console, /, **values: Any) -> None:
    """Put the model in FOLDER on the Hugging Face Hub: config, weights and card, nothing else.

    The card is the folder's README.md; without one it is made, unless the repository has its
    own. Log in with `hf auth login` or HF_TOKEN.
    """
    from vtnstream.models.hub import parse_hub_name
    from vtnstream.models.share import push_model

    name = parse_hub_name(values["name"])
    if name is None:
        raise UsageError(f"{values['name']}: not a name on the Hub, which is org/name")
    url = push_model(values["folder"], name, private=values["private"], license=values["license"])
    console.out(url)
    console.say(f"try it: vtnstream timeline VIDEO --model {name}")
