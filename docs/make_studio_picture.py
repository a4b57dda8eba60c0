"""Make docs/studio.png: the studio with a generated video, analysed by the bundled model.

    python docs/make_studio_picture.py

Needs chromium, and the extra ``dev``.
"""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
import tempfile
import threading
from fractions import Fraction
from pathlib import Path
from typing import Any

from PIL import Image

from vtnstream.config.studio import StudioConfig
from vtnstream.studio.folders import Workspace
from vtnstream.studio.service import Studio
from vtnstream.studio.web.server import StudioServer
from vtnstream.synthesis.cue_videos import CueVideoConfig, plan_video, render
from vtnstream.video.write import write_video

PICTURE = Path(__file__).resolve().parent / "studio.png"
WINDOW = {"width": 1180, "height": 1010}
COLORS = 128
VIDEO = CueVideoConfig(seconds=90, fps=10, size=192, min_phase=5, max_phase=11)


def make_result(folder: Path) -> None:
    """A generated video and the result of ``vtnstream timeline``."""
    video = folder / "generated.mp4"
    write_video(video, render(plan_video([3], VIDEO), VIDEO), Fraction(VIDEO.fps))
    words = ["-m", "vtnstream", "timeline", str(video), "-o", str(folder), "-f", "json"]
    subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL)


def correct(page: Any) -> None:
    """Two corrections with the keyboard, as a person makes them."""
    for _ in range(4):
        page.keyboard.press("ArrowRight")
    page.keyboard.press("l")
    page.keyboard.type("opening")
    page.keyboard.press("Enter")
    page.wait_for_timeout(3000)
    page.keyboard.press("ArrowRight")
    page.keyboard.press("c")
    page.wait_for_timeout(3000)


def main() -> None:
    from playwright.sync_api import sync_playwright

    folder = Path(tempfile.mkdtemp(prefix="vtnstream-studio-picture-"))
    make_result(folder)
    studio = Studio(Workspace.of([folder]), cache=folder / "cache", author="Ann")
    studio.index.scan()
    server = StudioServer(studio, StudioConfig(port=0))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        with sync_playwright() as playwright:
            path = shutil.which("chromium") or shutil.which("chromium-browser")
            browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
            page = browser.new_page(viewport=WINDOW)
            page.set_default_timeout(120_000)
            page.goto(server.address)
            page.click(".card a")
            page.wait_for_selector(".list .row")
            page.wait_for_timeout(5000)
            correct(page)
            box = page.locator("#canvas").bounding_box()
            page.mouse.move(box["x"] + 0.72 * box["width"], box["y"] + 40)
            page.wait_for_timeout(4000)
            image = Image.open(io.BytesIO(page.screenshot()))
            browser.close()
        image.convert("RGB").quantize(COLORS).save(PICTURE, optimize=True)
        print(json.dumps({"file": PICTURE.name, "bytes": PICTURE.stat().st_size}))
    finally:
        server.stop()
        thread.join()
        studio.close()
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
