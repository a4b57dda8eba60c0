"""The root command. It imports each command only when it is called."""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING

import click

from vtnstream.registry import suggestion

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vtnstream.cli.framework.console import Console

COMMANDS = {
    "classify": ("vtnstream.cli.commands.classify:classify", "Classify whole videos."),
    "timeline": ("vtnstream.cli.commands.timeline:timeline", "Find labelled segments in videos."),
    "attention": ("vtnstream.cli.commands.attention:attention", "Show the attention over time."),
    "summarize": ("vtnstream.cli.commands.summarize:summarize", "Select the best parts of videos."),
    "search": ("vtnstream.cli.commands.search:search", "Find moments by text or by example."),
    "index": ("vtnstream.cli.commands.index:index", "Add videos to a searchable library."),
    "clips": ("vtnstream.cli.commands.clips:clips", "Cut segments out of videos as clips."),
    "split": ("vtnstream.cli.commands.split:split", "Cut videos into their shots."),
    "extract": ("vtnstream.cli.commands.extract:extract", "Write backbone features to files."),
    "show": ("vtnstream.cli.commands.show:show", "Show stored results in the terminal."),
    "export": ("vtnstream.cli.commands.export:export", "Write stored results in other formats."),
    "studio": ("vtnstream.cli.commands.studio:studio", "Correct results in the browser."),
    "batch": ("vtnstream.cli.commands.batch:batch", "Process thousands of videos."),
    "train": ("vtnstream.cli.commands.train:train", "Train a model on your own labels."),
    "suggest": ("vtnstream.cli.commands.suggest:suggest", "Suggest spans to label next."),
    "evaluate": ("vtnstream.cli.commands.evaluate:evaluate", "Evaluate a model on annotations."),
    "demo": (
        "vtnstream.cli.commands.demo:demo",
        "Train and try a model in about two minutes.",
    ),
    "plan": ("vtnstream.cli.commands.plan:plan", "Estimate the cost of a run."),
    "models": ("vtnstream.cli.commands.models:models", "List, show, download and share models."),
    "cache": ("vtnstream.cli.commands.cache:cache", "List and prune stored features."),
    "config": ("vtnstream.cli.commands.config:config", "Show settings and where they come from."),
    "completion": ("vtnstream.cli.commands.completion:completion", "Print shell completion."),
    "doctor": ("vtnstream.cli.commands.doctor:doctor", "Check this installation and machine."),
}
"""Name of a command -> (module:attribute, its line in ``vtnstream --help``)."""

_EPILOG = """\b
Examples:
  vtnstream demo
  vtnstream classify surgery.mp4 --model models/surgery
  vtnstream timeline movie.mkv --window 64
  vtnstream timeline recordings/ --recursive --jsonl > results.jsonl

Settings, strongest first: --flags, VTNSTREAM_* variables (VTNSTREAM_MODEL,
VTNSTREAM_TIMELINE_WINDOW), the project's vtnstream.toml, the user's config.toml.

Exit codes: 0 success, 1 some input failed, 2 wrong usage, 3 success but some result is partial,
130 interrupted.
"""


class _LazyGroup(click.Group):
    """Imports a command only when it is called or its help is requested."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name == "help":
            if len(args) == 1:
                click.echo(ctx.get_help())
                ctx.exit()
            return self.resolve_command(ctx, [args[1], *args[2:], "--help"])
        if name not in COMMANDS and not name.startswith("-"):
            hint = suggestion(name, COMMANDS)
            known = "" if hint else f": there are {', '.join(COMMANDS)}"
            ctx.fail(f"no command {name!r}{hint or known}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


def _print_version(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        import vtnstream

        click.echo(f"vtnstream {vtnstream.__version__}")
        ctx.exit()


@click.group(
    cls=_LazyGroup,
    epilog=_EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option(
    "--version",
    "-V",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Show the version.",
)
@click.option("--debug", is_flag=True, expose_value=False, help="Show tracebacks.")
def cli() -> None:
    """Classify videos of any length and find labelled segments in them."""


def call(arguments: Sequence[str], console: Console) -> int:
    """Run one command line as ``click.Command.main`` does, but raise every exception as it is.

    ``main`` prints an empty line and raises ``Abort`` in place of an interrupt.

    Returns:
        the exit code.
    """
    instruction = os.environ.get("_VTNSTREAM_COMPLETE")
    if instruction:
        from click.shell_completion import shell_complete

        return shell_complete(cli, {}, "vtnstream", "_VTNSTREAM_COMPLETE", instruction)
    try:
        with cli.make_context("vtnstream", list(arguments), obj=console) as context:
            return int(cli.invoke(context) or 0)
    except click.exceptions.Exit as error:
        return error.exit_code
