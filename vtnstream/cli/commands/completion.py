"""``vtnstream completion``: scripts that complete commands and options in a shell."""

from __future__ import annotations

import click

from vtnstream.cli.framework.command import Command
from vtnstream.cli.framework.console import Console
from vtnstream.cli.options import running
from vtnstream.errors import UsageError

_EXAMPLES = """
vtnstream completion bash >> ~/.bashrc
vtnstream completion zsh >> ~/.zshrc
vtnstream completion fish > ~/.config/fish/completions/vtnstream.fish
vtnstream completion powershell >> $PROFILE
"""
_SHELLS = ("bash", "zsh", "fish", "powershell")


@click.command(cls=Command, examples=_EXAMPLES)
@click.argument("shell", type=click.Choice(_SHELLS))
@running.messages
@click.pass_obj
def completion(console: Console, /, shell: str) -> None:
    """Print the script that completes vtnstream's commands and options in SHELL."""
    from click.shell_completion import get_completion_class

    from vtnstream.cli.framework.group import cli

    completion_class = get_completion_class(shell)
    if completion_class is None:
        raise UsageError(f"this version of click has no {shell}: run pip install -U click")
    console.out(completion_class(cli, {}, "vtnstream", "_VTNSTREAM_COMPLETE").source().rstrip("\n"))
