"""Make docs/gallery.md and its images with the commands of vtnstream, on generated videos.

    python docs/make_gallery.py            # runs the demo first: some minutes
    python docs/make_gallery.py DEMO       # from the folder of an earlier `vtnstream demo -o DEMO`

Needs chromium, and the extra ``dev`` for Playwright.
"""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

DOCS = Path(__file__).resolve().parent
PICTURES = DOCS / "gallery"
COLUMNS = 80
MOST_LINES = 9
VIDEO, MODEL = "video_0320.mp4", "vtn"


class Gallery:
    """Runs commands in one folder and records their output.

    Args:
        folder: of the demo, with its video and model.
        browser: Playwright's Chromium.
    """

    def __init__(self, folder: Path, browser: object) -> None:
        self.folder, self.browser = folder, browser
        self.parts: list[str] = []

    def run(self, command: str, *, color: bool = False, stdin: str | None = None) -> str:
        """The output of a shell command line; ``stdin`` is its standard input."""
        settings = {"COLUMNS": str(COLUMNS), "VTNSTREAM_CACHE_DIR": "cache", "LC_ALL": "C.UTF-8"}
        settings |= {"FORCE_COLOR": "1", "COLORTERM": "truecolor"} if color else {"NO_COLOR": "1"}
        shell = command.replace("vtnstream ", f"{sys.executable} -m vtnstream ")
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", shell],
            cwd=self.folder,
            env={**os.environ, **settings},
            capture_output=True,
            text=True,
            input=stdin,
            check=False,
        )
        if done.returncode:
            raise SystemExit(f"{command}: {done.stderr}")
        return done.stdout

    def say(self, text: str) -> None:
        self.parts.append(text)

    def command(self, command: str, lines: int = 100) -> None:
        """A command and its output as text."""
        shown = self.run(command).rstrip("\n").split("\n")
        rest = ["..."] if len(shown) > lines else []
        self.parts.append("\n".join(["```", f"$ {command}", *shown[:lines], *rest, "```"]))

    def terminal(self, command: str, name: str, what: str) -> None:
        """A command and an image of the terminal, in its colours."""
        from rich.console import Console
        from rich.terminal_theme import MONOKAI
        from rich.text import Text

        screen = Console(record=True, width=COLUMNS, file=io.StringIO())
        screen.print(Text.from_ansi(self.run(command, color=True)))
        page = screen.export_html(theme=MONOKAI, inline_styles=True)
        style = "<style>body{margin:0;padding:12px;width:max-content}pre{margin:0!important;"
        style += "font:14px/17px 'DejaVu Sans Mono',monospace!important}</style>"
        page = page.replace("</head>", f"{style}</head>")
        self._picture(name, what, html=page)
        self.parts.insert(-1, f"```\n$ {command}\n```")

    def page(self, path: str, name: str, what: str) -> None:
        """An image of a page that a command wrote."""
        self._picture(name, what, address=(self.folder / path).as_uri(), size=(1000, 1500))

    def _picture(
        self,
        name: str,
        what: str,
        *,
        html: str | None = None,
        address: str | None = None,
        size: tuple[int, int] = (760, 200),
    ) -> None:
        context = self.browser.new_context(  # type: ignore[attr-defined]
            viewport={"width": size[0], "height": size[1]}
        )
        page = context.new_page()
        if html is not None:
            page.set_content(html)
            data = page.locator("body").screenshot()
        else:
            page.goto(address)
            page.locator("#segments tbody tr").nth(2).click()
            page.wait_for_timeout(2500)
            data = page.screenshot()
        context.close()
        self.picture(Image.open(io.BytesIO(data)), name, what)

    def picture(self, image: Image.Image, name: str, what: str) -> None:
        """Keep an image, small."""
        PICTURES.mkdir(exist_ok=True)
        image.convert("RGB").quantize(64, dither=Image.Dither.NONE).save(
            PICTURES / f"{name}.png", optimize=True
        )
        self.parts.append(f"![{what}](gallery/{name}.png)")


def fill(gallery: Gallery) -> None:
    """Add all parts of the gallery."""
    asked = f"{VIDEO} --model {MODEL}"
    gallery.say("# Gallery")
    gallery.say(
        "Real output, made by `python docs/make_gallery.py` from a video and the model of "
        "`vtnstream demo`: a coloured bar in the first seconds decides the meaning of everything "
        "later."
    )
    gallery.say("## A timeline in the terminal")
    gallery.terminal(f"vtnstream timeline {asked}", "timeline", "the timeline in a terminal")
    gallery.say("## The same as a page")
    gallery.run(f"vtnstream timeline {asked} -q -o results -f all")
    gallery.say(
        "`-o results -f html` writes one file: timeline, scores, attention, a thumbnail of each "
        "segment, and a player. A click on a segment jumps there."
    )
    gallery.page(f"results/{VIDEO}.html", "page", "the page in a browser")
    gallery.say("## Which moments decided")
    gallery.run(f"vtnstream attention {asked} -q -o results")
    gallery.terminal(f"vtnstream attention {asked}", "attention", "attention in a terminal")
    strip = Image.open(gallery.folder / "results" / f"{VIDEO}.attention.png")
    gallery.say("`-o results` also writes an image:")
    gallery.picture(strip, "attention-strip", "frames of the video above the attention of [CLS]")
    gallery.say("## For other programs")
    gallery.say("From one stored result, without model or video (`vtnstream export`):")
    for suffix in ("srt", "ffmetadata", "csv"):
        gallery.command(f"head -{MOST_LINES} results/{VIDEO}.{suffix}", MOST_LINES)
    gallery.command(f"grep -v file: results/{VIDEO}.edl", MOST_LINES)  # where this folder lies
    gallery.say("## The most important moments")
    gallery.command(f"vtnstream summarize {asked} --length 15s -q")
    gallery.say("## Live input")
    gallery.say("A growing file, a pipe or a camera: see [live.md](live.md).")
    gallery.say("## Estimate of a run")
    gallery.command(f"vtnstream plan {asked} -q")


def main() -> None:
    from playwright.sync_api import sync_playwright

    browser_path = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser_path is None:
        raise SystemExit("chromium is needed")
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        folder = Path(name)
        demo = Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else folder / "demo"
        if not demo.exists():
            command = [sys.executable, "-m", "vtnstream", "demo", "-o", str(demo)]
            subprocess.run(command, check=True)
        shutil.copy(demo / "videos" / VIDEO, folder)
        shutil.copytree(demo / MODEL, folder / MODEL)
        browser = playwright.chromium.launch(executable_path=browser_path, args=["--no-sandbox"])
        gallery = Gallery(folder, browser)
        fill(gallery)
        browser.close()
    (DOCS / "gallery.md").write_text("\n\n".join(gallery.parts) + "\n", "utf-8")


if __name__ == "__main__":
    main()
