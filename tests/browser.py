"""A real browser: Debian's Chromium, driven by Playwright without a download.

The fixtures ``chromium`` and ``visit`` are available to all tests.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.patience import HANG


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        assert os.environ.get("CI") != "true", "chromium is missing: .ci/run installs it"
        pytest.skip("needs chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@dataclasses.dataclass
class Visit:
    """A page in a window of its own, with its errors and requests."""

    page: Any
    requests: list[str]
    problems: list[str]

    def see(self, script: str) -> Any:
        return self.page.evaluate(script)

    def until(self, script: str, seconds: float = HANG) -> None:
        """Wait for a condition. (Playwright's own waiting is ``eval``, which the page's policy
        forbids.)"""
        end = time.monotonic() + seconds
        while not self.see(script):
            assert time.monotonic() < end, script
            self.page.wait_for_timeout(50)

    def shown(self) -> list[str]:
        """Labels of the visible rows in the table of the static page, from above."""
        script = "[...document.querySelectorAll('#segments tbody tr')].filter(r => !r.hidden)"
        return list(self.see(f"{script}.map(r => r.dataset.label)"))

    @property
    def chosen(self) -> str | None:
        """Id of the chosen row in the table of the static page."""
        return self.see("document.querySelector('tr.chosen')?.id ?? null")  # type: ignore[no-any-return]


@pytest.fixture
def visit(chromium: Any) -> Iterator[Any]:
    contexts = []

    def visit(address: str | Path, **options: Any) -> Visit:
        options.setdefault("viewport", {"width": 1280, "height": 900})
        context = chromium.new_context(**options)
        context.set_default_timeout(60_000)
        contexts.append(context)
        found = Visit(context.new_page(), [], [])
        found.page.on("request", lambda request: found.requests.append(request.url))
        found.page.on("pageerror", lambda error: found.problems.append(str(error)))
        found.page.on("console", lambda message: found.problems.append(message.text))
        found.page.goto(address.as_uri() if isinstance(address, Path) else address)
        return found

    yield visit
    for context in contexts:
        context.close()
