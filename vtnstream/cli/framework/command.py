"""The command and option classes of the command line.

The value of an option comes from its flag, then ``VTNSTREAM_<COMMAND>_<OPTION>``, then
``VTNSTREAM_<OPTION>``, then the config files, then the default of the config dataclass.
``batch timeline`` also uses the settings of ``timeline`` that it does not set itself. If options
exclude each other (``--fps`` and ``--num-frames``), the one from the stronger source wins; two
from the same source are an error.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import click
from click.core import ParameterSource

_OFFLINE_VARIABLE = "VTNSTREAM_OFFLINE"
_NO_BARS_VARIABLE = "HF_HUB_DISABLE_PROGRESS_BARS"
"""Variable of huggingface_hub that turns its progress bars off; vtnstream shows its own."""

_WORD = re.compile(r"""(?:[^\s'"]|'[^']*'|"[^"]*")+""")
"""A word of a command line, with its quotes."""

EXCLUSIVE: tuple[tuple[str, ...], ...] = (
    ("fps", "num_frames", "frame_stride", "sample"),
    ("json", "jsonl"),
    ("quiet", "verbose"),
    ("weights", "pretrained"),
    ("model", "backbone"),
    ("copy", "smart"),
)
"""Groups of options that exclude each other."""

_NEEDS: Mapping[str, str] = {
    "keep": "follow",
    "follow_timeout": "follow",
    "smoothing_size": "smoothing",
    "nms_threshold": "nms",
    "range_seconds": "ray",
}
"""Options that do nothing without another one."""

_RANK = {
    ParameterSource.COMMANDLINE: 0,
    ParameterSource.ENVIRONMENT: 1,
    ParameterSource.DEFAULT_MAP: 2,
}
COMPLETE_VIDEOS = "complete videos are kept"
"""What an interrupt says of a batch that has not begun; later it says how many are complete."""


class Option(click.Option):
    """An option with a section in the help and, unless ``settable=False``, an environment variable
    and a key in config files."""

    def __init__(
        self,
        param_decls: Sequence[str],
        *,
        section: str = "Options",
        settable: bool = True,
        **attributes: Any,
    ) -> None:
        super().__init__(param_decls, **attributes)
        self.section = section
        self.settable = settable

    @property
    def key(self) -> str:
        """The option's key in config files."""
        return (self.name or "").replace("_", "-")

    def variables(self, ctx: click.Context) -> tuple[str, ...]:
        """Return the option's environment variables, the most specific first."""
        if not self.settable or not self.name:
            return ()
        path = [part.info_name or "" for part in _parents(ctx)][1:]
        name = self.name.upper()
        # `batch timeline` also reads the variables of `timeline`.
        starts = range(len(path) + 1)
        return tuple("_".join(["VTNSTREAM", *map(str.upper, path[i:]), name]) for i in starts)

    def resolve_envvar_value(self, ctx: click.Context) -> str | None:
        return next((v for name in self.variables(ctx) if (v := os.environ.get(name))), None)

    def get_help_extra(self, ctx: click.Context) -> Any:
        extra = super().get_help_extra(ctx)
        extra.pop("range", None)  # the error message states the range
        return extra

    def get_error_hint(self, ctx: click.Context | None) -> str:
        hint = super().get_error_hint(ctx)
        if ctx is None or ctx.get_parameter_source(self.name or "") != ParameterSource.ENVIRONMENT:
            return hint
        name = next(name for name in self.variables(ctx) if os.environ.get(name))
        return f"{hint} (from {name})"


def _parents(ctx: click.Context) -> list[click.Context]:
    contexts: list[click.Context] = []
    parent: click.Context | None = ctx
    while parent is not None:
        contexts.append(parent)
        parent = parent.parent
    return contexts[::-1]


def given(name: str) -> bool:
    """Return whether an option of the running command is on its command line."""
    source = click.get_current_context().get_parameter_source(name)
    return source == ParameterSource.COMMANDLINE


class Command(click.Command):
    """A command with sections and examples in its help. It configures the console.

    Attributes:
        examples: command lines for the help.
        stores_features: whether a command with ``--cache`` stores the features that it computes.
    """

    def __init__(
        self, *args: Any, examples: str = "", stores_features: bool = True, **attributes: Any
    ) -> None:
        super().__init__(*args, **attributes)
        self.examples = examples
        self.stores_features = stores_features

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        sections: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is not None and not isinstance(param, click.Argument):
                sections.setdefault(getattr(param, "section", "Options"), []).append(record)
        other = sections.pop("Options", None)
        for title, records in [*sections.items(), *([("Options", other)] if other else [])]:
            with formatter.section(title):
                formatter.write_dl(records)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        lines = self.examples.strip().splitlines()
        if lines:
            with formatter.section("Examples"):
                for line in lines:
                    formatter.write(f"{_continued(line, formatter.width)}\n" if line else "\n")
        super().format_epilog(ctx, formatter)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        rest = super().parse_args(ctx, args)
        if not ctx.resilient_parsing:
            self._settle_exclusive(ctx)
            self._refuse_idle(ctx)
        return rest

    def _refuse_idle(self, ctx: click.Context) -> None:
        """Refuse an option on the command line that does nothing without another one."""
        for name, needed in _NEEDS.items():
            given = ctx.get_parameter_source(name) == ParameterSource.COMMANDLINE
            if given and name in ctx.params and ctx.params.get(needed) in (None, False, "none"):
                flags = [f"--{part.replace('_', '-')}" for part in (name, needed)]
                ctx.fail(f"{flags[0]} does nothing without {flags[1]}: give both or none")

    def _settle_exclusive(self, ctx: click.Context) -> None:
        options: Mapping[str | None, click.Parameter] = {p.name: p for p in self.get_params(ctx)}
        for names in EXCLUSIVE:
            ranks = {name: self._rank(ctx, name) for name in names if name in options}
            given = {name: rank for name, rank in ranks.items() if rank < len(_RANK)}
            if len(given) < 2:
                continue
            best = min(given.values())
            winners = [name for name, rank in given.items() if rank == best]
            if len(winners) > 1:
                flags = " and ".join(options[name].opts[-1] for name in winners)
                ctx.fail(f"{flags} exclude each other: give one of them")
            for name in given.keys() - winners:
                ctx.params[name] = _unset(options[name])

    @staticmethod
    def _rank(ctx: click.Context, name: str) -> int:
        if not ctx.params.get(name):
            return len(_RANK)
        source = ctx.get_parameter_source(name)
        return _RANK.get(source, len(_RANK)) if source is not None else len(_RANK)

    def invoke(self, ctx: click.Context) -> Any:
        console, values = ctx.obj, ctx.params
        if values.pop("quiet", False):
            console.verbosity = -1
        console.verbosity += values.pop("verbose", 0)
        console.debug = values.pop("debug", False) or console.debug
        if log := values.pop("log_file", None):
            console.log_to(log)
        console.progress = values.pop("progress", console.progress)
        console.interrupted = _interrupted(values) if self.stores_features else "interrupted"
        for line in ctx.meta.pop("vtnstream.notes", ()):
            console.note(line)
        for line in ctx.meta.pop("vtnstream.warnings", ()):
            console.warn(line)
        variables = {_OFFLINE_VARIABLE: "1"} if values.pop("offline", False) else {}
        if console.verbosity < 0 or console.progress in ("plain", "none"):
            variables[_NO_BARS_VARIABLE] = "1"
        with console.libraries(), _environment(variables):
            return super().invoke(ctx)


def _continued(line: str, width: int) -> str:
    """A command line, indented; where it is too long it goes on in the next line after a
    backslash, so that it can be copied."""
    indent, rest = "  ", line
    if line.startswith(" "):  # goes on from the line before
        indent, rest = "      ", line.strip()
    found = [indent]
    for word in _WORD.findall(rest):
        joined = found[-1] + ("" if found[-1].isspace() else " ") + word
        if len(joined) > width - 2 and not found[-1].isspace() and word != "\\":
            found[-1] += " \\"
            found.append(f"      {word}")
        else:
            found[-1] = joined
    return "\n".join(found)


def _interrupted(values: Mapping[str, Any]) -> str:
    """Say what an interrupt leaves of the work of a command with these options."""
    if "cache" not in values:  # the command computes no features
        return "interrupted"
    kept = []
    if "recycle" in values:
        kept.append(COMPLETE_VIDEOS)
    elif "epochs" in values:
        kept.append("complete epochs are kept")
    in_passing = values.get("views") or values.get("reference_preprocess")
    in_passing = in_passing or values.get("method") == "end-to-end"
    if values["cache"] and not values.get("features") and not in_passing:
        kept.append("features so far are stored")
    if not kept:
        why = "" if values["cache"] else ", because of --no-cache"
        return f"interrupted: nothing was stored{why}"
    return f"interrupted: {' and '.join(kept)}; run the same command to resume"


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables for libraries and child processes while a command runs."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value


def _unset(parameter: click.Parameter) -> Any:
    """Return the value of an option that was not given."""
    if isinstance(parameter, click.Option) and parameter.count:
        return 0
    return False if isinstance(parameter, click.Option) and parameter.is_flag else None
