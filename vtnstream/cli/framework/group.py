"""The root command: a table of commands that are imported when they are called."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import click

from vtnstream.registry import suggestion

COMMANDS = {
    "classify": ("vtnstream.cli.commands.classify:classify", "Say what videos show."),
    "timeline": ("vtnstream.cli.commands.timeline:timeline", "Say what happens when in videos."),
    "attention": ("vtnstream.cli.commands.attention:attention", "Show which moments decided."),
    "summarize": ("vtnstream.cli.commands.summarize:summarize", "Choose moments worth keeping."),
    "search": ("vtnstream.cli.commands.search:search", "Find moments that look like an example."),
    "clips": ("vtnstream.cli.commands.clips:clips", "Cut segments of results out of videos."),
    "extract": ("vtnstream.cli.commands.extract:extract", "Write the features of videos."),
    "show": ("vtnstream.cli.commands.show:show", "Show stored results in the terminal."),
    "export": ("vtnstream.cli.commands.export:export", "Write stored results in other formats."),
    "batch": ("vtnstream.cli.commands.batch:batch", "Work through thousands of videos."),
    "train": ("vtnstream.cli.commands.train:train", "Make a model of your own labels."),
    "evaluate": ("vtnstream.cli.commands.evaluate:evaluate", "Hold a model against annotations."),
    "demo": ("vtnstream.cli.commands.demo:demo", "Train and try a small model in two minutes."),
    "plan": ("vtnstream.cli.commands.plan:plan", "Say what a run would cost, before it."),
    "models": ("vtnstream.cli.commands.models:models", "List, show, fetch and share models."),
    "cache": ("vtnstream.cli.commands.cache:cache", "List and prune stored features."),
    "config": ("vtnstream.cli.commands.config:config", "Show settings and where they come from."),
    "completion": ("vtnstream.cli.commands.completion:completion", "Complete in four shells."),
    "doctor": ("vtnstream.cli.commands.doctor:doctor", "Say what this machine can do."),
}
"""name -> (module:attribute, line in the list of commands)."""

EPILOG = """\b
Examples:
  vtnstream demo
  vtnstream classify surgery.mp4 --model models/surgery
  vtnstream timeline movie.mkv --window 64
  vtnstream timeline recordings/ --recursive --jsonl > results.jsonl

Defaults come from --flags, then VTNSTREAM_* variables (VTNSTREAM_MODEL,
VTNSTREAM_TIMELINE_WINDOW), then vtnstream.toml of the project, then the user's config.toml.

Exit codes: 0 ok, 1 some input failed, 2 wrong usage, 3 done but some result is partial,
130 interrupted.
"""


class Escaped(Exception):
    """Carries an exception past click, which would answer some of them in its own way."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(str(error))
        self.error = error


def unwrap(error: BaseException) -> BaseException:
    """The exception that was raised inside a command."""
    return error.error if isinstance(error, Escaped) else error


class LazyGroup(click.Group):
    """Imports a command only when it is called or its own help is asked for."""

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
        if name not in COMMANDS and not name.startswith("-"):
            hint = suggestion(name, COMMANDS)
            known = "" if hint else f": there are {', '.join(COMMANDS)}"
            ctx.fail(f"no command {name!r}{hint or known}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (KeyboardInterrupt, EOFError, OSError) as error:
            raise Escaped(error) from error


def _print_version(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        import vtnstream

        click.echo(f"vtnstream {vtnstream.__version__}")
        ctx.exit()


@click.group(
    cls=LazyGroup,
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Show the version.",
)
@click.option("--debug", is_flag=True, expose_value=False, help="Show tracebacks.")
def cli() -> None:
    """From a video of any length to a class and a timeline of labelled segments."""
