"""Pages of the documentation that are made from the code; mkdocs calls this as a hook.

- ``reference/commands.md``: every command and option, from the click commands;
- ``reference/api.md``: every name of ``vtnstream.__all__``, from its docstring;
- ``reference/configuration.md``: the dataclasses that hold all defaults;
- ``reference/packages.md``: what each package is for, from the docstring of its ``__init__``.
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import vtnstream  # noqa: E402
from vtnstream.cli.framework.command import Option  # noqa: E402
from vtnstream.cli.framework.command_tree import commands  # noqa: E402

GLOBAL_OPTIONS = ("config", "debug", "help", "log_file", "progress", "quiet", "verbose")
"""Options of every command, described once."""


def on_files(files: Any, config: Any) -> Any:
    """Give mkdocs the generated pages."""
    from mkdocs.structure.files import File

    for address, text in pages().items():
        files.append(File.generated(config, address, content=text))
    return files


def pages() -> dict[str, str]:
    """Address of each generated page below ``docs`` -> its Markdown."""
    return {
        "reference/commands.md": commands_page(),
        "reference/api.md": api_page(),
        "reference/configuration.md": configuration_page(),
        "reference/packages.md": packages_page(),
    }


# ----------------------------------------------------------------------------- commands


def commands_page() -> str:
    """The command line reference."""
    known = commands()
    leaves = {path: cmd for path, cmd in known.items() if not isinstance(cmd, click.Group)}
    parts = [
        "# Commands",
        "Made from the commands themselves; `vtnstream COMMAND --help` shows the same. Each "
        "option also has an environment variable and a key in `vtnstream.toml`, unless the "
        "table says otherwise: for `--min-duration` of `timeline`, the variables "
        "`VTNSTREAM_TIMELINE_MIN_DURATION` and `VTNSTREAM_MIN_DURATION`, and the key "
        "`min-duration` under `[timeline]` or at the top.",
        "## Options of every command",
        *_option_tables(_shared(leaves.values())),
    ]
    for path, command in leaves.items():
        parts += _command(path, command)
    return "\n\n".join(parts) + "\n"


def _shared(every: Iterable[click.Command]) -> list[click.Parameter]:
    first = next(iter(every))
    return [param for param in first.params if param.name in GLOBAL_OPTIONS]


def _command(path: str, command: click.Command) -> list[str]:
    context = click.Context(command, info_name=f"vtnstream {path}")
    usage = " ".join(command.collect_usage_pieces(context))
    own = [param for param in command.params if param.name not in GLOBAL_OPTIONS]
    parts = [f"## vtnstream {path}", *_paragraphs(command.help or "")]
    parts += [f"```text\nvtnstream {path} {usage}\n```", *_option_tables(own)]
    if examples := getattr(command, "examples", "").strip():
        parts += ["Examples:", f"```sh\n{examples}\n```"]
    return parts


def _paragraphs(text: str) -> list[str]:
    """Help as Markdown: a paragraph after ``\\b`` keeps its lines."""
    made = []
    for part in inspect.cleandoc(text).split("\n\n"):
        if part.startswith("\b"):
            made.append("```text\n" + part.removeprefix("\b").strip("\n") + "\n```")
        else:
            made.append(_escaped(" ".join(part.split())))
    return made


def _option_tables(params: Iterable[click.Parameter]) -> list[str]:
    sections: dict[str, list[str]] = {}
    for param in params:
        if not isinstance(param, click.Option) or param.hidden:
            continue
        context = click.Context(click.Command("x"))
        record = param.get_help_record(context)
        if record is None:
            continue
        flags, text = record
        if not (isinstance(param, Option) and param.settable):
            text += " Flag only."
        cell = _escaped(text).replace("|", "\\|")
        row = f"| `{flags}` | {cell} |"
        sections.setdefault(getattr(param, "section", "Options"), []).append(row)
    return [f"| {title} | |\n|---|---|\n" + "\n".join(rows) for title, rows in sections.items()]


def _escaped(text: str) -> str:
    """Text whose characters mean nothing to Markdown or HTML, code in backquotes kept."""
    pieces = re.split(r"(`[^`]*`)", text)
    return "".join(
        piece if piece.startswith("`") else re.sub(r"([*_<>\[\]])", r"\\\1", piece)
        for piece in pieces
    )


# ----------------------------------------------------------------------------- Python


def api_page() -> str:
    """The public names of the package, in three groups."""
    groups: dict[str, list[str]] = {"Functions": [], "Classes": [], "Errors": []}
    for name in vtnstream.__all__:
        value = getattr(vtnstream, name)
        if inspect.isclass(value):
            kind = "Errors" if issubclass(value, BaseException) else "Classes"
            groups[kind].append(name)
        elif callable(value):
            groups["Functions"].append(name)
    parts = [
        "# Python API",
        "Everything that `import vtnstream` offers. Names that are not here, and names that "
        "begin with an underscore, may change in any release.",
    ]
    for title, names in groups.items():
        parts += [
            f"## {title}",
            *(f"::: vtnstream.{name}\n    options:\n      heading_level: 3" for name in names),
        ]
    return "\n\n".join(parts) + "\n"


def configuration_page() -> str:
    """The dataclasses of ``vtnstream.config``, one room's module after the other."""
    parts = [
        "# Configuration",
        "All defaults stand in these dataclasses. A recipe for `vtnstream train` and the "
        "`config.json` of a model hold the same fields, as TOML and JSON tables.",
    ]
    for path in sorted((ROOT / "vtnstream" / "config").glob("*.py")):
        tree = ast.parse(path.read_text("utf-8"))
        names = [
            node.name
            for node in tree.body
            if isinstance(node, ast.ClassDef)
            and node.decorator_list
            and not node.name.startswith("_")
        ]
        parts += [
            f"::: vtnstream.config.{path.stem}.{name}\n    options:\n      heading_level: 2"
            for name in names
        ]
    return "\n\n".join(parts) + "\n"


def packages_page() -> str:
    """What each package of ``vtnstream`` is for, in its own words."""
    parts = [
        "# Packages",
        "From the docstrings of the packages. Imports go down only; import-linter checks it "
        "(`[tool.importlinter]` in `pyproject.toml`).",
    ]
    for path in sorted((ROOT / "vtnstream").rglob("__init__.py")):
        text = ast.get_docstring(ast.parse(path.read_text("utf-8")))
        if text and path.parent.name != "vtnstream":
            name = ".".join(path.parent.relative_to(ROOT).parts)
            parts += [f"## {name}", _plain(text)]
    return "\n\n".join(parts) + "\n"


def _plain(text: str) -> str:
    """A docstring as Markdown: roles and double backquotes become code."""
    text = re.sub(r":\w+:`~?([^`]+)`", r"`\1`", text).replace("``", "`")
    return "\n\n".join(
        f"```text\n{part}\n```" if part.startswith("    ") else part for part in text.split("\n\n")
    )
