"""The health check of the container, against real servers."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests.studio.conftest import Served
from vtnstream.studio.web.health import is_healthy, serves


def test_it_tells_a_studio_that_answers(serve: Callable[..., Served], folder: Path) -> None:
    served = serve(folder, token="secret")
    assert is_healthy(served.port, "secret") and is_healthy(served.port)
    words = [sys.executable, "-m", "vtnstream.studio.web.health"]
    assert subprocess.run([*words, str(served.port)], check=False).returncode == 0
    assert subprocess.run([*words, "1"], check=False).returncode == 1
    assert not is_healthy(1)


def test_other_commands_have_nothing_to_ask() -> None:
    assert serves(["/usr/bin/python3", "/usr/local/bin/vtnstream", "studio", "results"])
    assert not serves(["/usr/bin/python3", "/usr/local/bin/vtnstream", "timeline", "studio"][:3])
