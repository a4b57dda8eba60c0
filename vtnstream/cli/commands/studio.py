"""``vtnstream studio``: look at results, correct them and train again, in the browser."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from vtnstream.cli.framework.command import Command
from vtnstream.cli.framework.console import Console
from vtnstream.cli.framework.fields import attach, field, option
from vtnstream.cli.framework.types import complete_files
from vtnstream.cli.options import running
from vtnstream.config.studio import StudioConfig

_EXAMPLES = """
vtnstream studio results
vtnstream studio results --videos recordings --port 0 --no-browser
vtnstream studio results --videos recordings --library archive
vtnstream studio results/match.mp4.json --as "Dr. Chen"
VTNSTREAM_STUDIO_TOKEN=secret vtnstream studio results --host 0.0.0.0
"""
_SECTION = "Studio"
_FOLDER = click.Path(file_okay=False, path_type=Path)


@click.command(cls=Command, examples=_EXAMPLES)
@click.argument("places", nargs=-1, metavar="[FOLDER|RESULTS...]", shell_complete=complete_files)
@attach(
    option(
        "--videos",
        section=_SECTION,
        settable=False,
        multiple=True,
        type=_FOLDER,
        metavar="FOLDER",
        help="Folder of videos that lie elsewhere; may be repeated. No other file is read.",
    ),
    option(
        "--state",
        section=_SECTION,
        settable=False,
        type=_FOLDER,
        metavar="FOLDER",
        help="Keep corrections and jobs here [default: .vtnstream-studio in the first folder].",
    ),
    field(
        StudioConfig,
        "host",
        section=_SECTION,
        metavar="ADDRESS",
        help="Address to listen on; any but this machine's own needs a token.",
    ),
    field(StudioConfig, "port", section=_SECTION, help="Port; 0 chooses a free one."),
    option(
        "--token",
        section=_SECTION,
        metavar="SECRET",
        help="Secret that browsers and programs must send [default: none on this machine alone, "
        "else random]. Prefer the variable VTNSTREAM_STUDIO_TOKEN: others can read command lines.",
    ),
    option(
        "--as",
        section=_SECTION,
        metavar="NAME",
        help="Name of the person who corrects [default: the login name].",
    ),
    option(
        "--search-model",
        section=_SECTION,
        metavar="MODEL",
        help="Model for searching the library: an image-text model, or a trained model, which "
        "understands examples alone [default: siglip2-base].",
    ),
    option(
        "--library",
        section=_SECTION,
        settable=False,
        metavar="NAME",
        help="Search this library of vtnstream index in place of stored features.",
    ),
    option(
        "--browser/--no-browser",
        section=_SECTION,
        settable=False,
        default=True,
        help="Open the browser.",
    ),
)
@running.messages
@click.pass_obj
def studio(console: Console, /, **values: Any) -> None:
    """Look at results, correct them and train on the corrections, in the browser.

    FOLDER holds results (JSON files of `timeline` or `classify`) or videos; it is the current
    folder if none is named. The server runs until Ctrl-C. Nothing is sent to another host.
    """
    from vtnstream.optional import require

    require("fastapi", "studio")
    require("uvicorn", "studio")
    from vtnstream.studio.folders import Workspace
    from vtnstream.studio.service import Studio
    from vtnstream.studio.web.server import StudioServer

    config = StudioConfig(host=values["host"], port=values["port"])
    workspace = Workspace.of(values["places"], videos=values["videos"], state=values["state"])
    opened = Studio(
        workspace,
        author=values["as"],
        search_model=values["search_model"],
        library=values["library"],
    )
    try:
        server = StudioServer(opened, config, token=values["token"] or None)
        opened.start()
        console.say(f"studio: {server.address} (Ctrl-C ends it)")
        if values["browser"]:
            _open_browser(server.address)
        server.run()
    except KeyboardInterrupt:
        console.say("the studio has ended; all corrections are saved")
    finally:
        opened.close()


def _open_browser(address: str) -> None:
    import threading
    import webbrowser

    threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()
