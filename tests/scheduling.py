"""The order of the test files, and which worker of pytest-xdist runs which.

All tests of a file run in one worker, so that a fixture of a module is made once. The longest
files come first: the last ones are short, and no worker waits long for another.
"""

from __future__ import annotations

from typing import Any

import pytest

LONGEST = (
    "tests/models/compile/test_compile.py",
    "tests/cli/test_batch.py",
    "tests/studio/browser/test_pages.py",
    "tests/report/page/test_in_browser.py",
    "tests/models/io/test_export.py",
    "tests/video/sampling/test_parallel.py",
    "tests/benchmarks/test_throughput.py",
    "tests/inference/test_vivit.py",
    "tests/cli/test_terminal.py",
    "tests/video/decoding/test_skipping.py",
    "tests/training/test_resume.py",
    "tests/models/torch_internals/test_library_import.py",
    "tests/cli/test_analysis.py",
    "tests/batch/workers/test_local.py",
    "tests/benchmarks/test_temporal.py",
    "tests/batch/workers/test_cluster.py",
    "tests/encoding/test_engine_building.py",
    "tests/cli/test_remote.py",
    "tests/inference/test_methods.py",
    "tests/models/io/test_checkpoint.py",
    "tests/models/long_sequence/test_streaming.py",
    "tests/cli/test_follow.py",
    "tests/cli/test_bundled.py",
    "tests/cli/test_search.py",
    "tests/cli/test_process.py",
    "tests/faults/test_kill.py",
    "tests/benchmarks/test_commands.py",
    "tests/encoding/test_resume.py",
    "tests/video/decoding/test_seek.py",
)
"""Files that take more than ten seconds, the longest first."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    place = {name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.nodeid.partition("::")[0], len(place)))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    if config.getoption("dist") != "load":
        return None  # --dist names another way
    from xdist.scheduler import LoadFileScheduling

    config.option.loadscopereorder = False
    return LoadFileScheduling(config, log)
