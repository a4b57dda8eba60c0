"""The static table of options equals the commands, and makes their imports unnecessary."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from vtnstream.cli.framework.option_table import (
    TABLE_FILE,
    options_by_command,
    options_of_commands,
    rendered,
)

WRITE = "run `python -m vtnstream.cli.framework.option_table` and commit option_table.txt"


def test_table_equals_the_options_of_the_commands() -> None:
    assert dict(options_by_command()) == options_of_commands(), WRITE
    assert TABLE_FILE.read_text("utf-8") == rendered(options_of_commands()), WRITE


def imported_commands(folder: Path, *, variables: dict[str, str]) -> set[str]:
    """The command modules that ``vtnstream completion bash`` imports."""
    program = (
        "import sys\n"
        "from vtnstream.cli.main import main\n"
        "code = main(['completion', 'bash'])\n"
        "start = 'vtnstream.cli.commands.'\n"
        "found = [n.removeprefix(start) for n in sys.modules if n.startswith(start)]\n"
        "print(*found, file=sys.stderr)\n"
        "raise SystemExit(code)\n"
    )
    source = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=folder,
        env={"PATH": "/usr/bin:/bin", "HOME": str(folder), "PYTHONPATH": source, **variables},
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stderr.splitlines()[-1].split())


def test_variables_and_files_import_no_other_command(tmp_path: Path) -> None:
    (tmp_path / "vtnstream.toml").write_text("window = 32\n[timeline]\ntop-k = 3\n")
    variables = {"VTNSTREAM_TIMELINE_FPS": "2", "VTNSTREAM_DEVICE": "cpu", "VTNSTREAM_ODD": "1"}
    assert imported_commands(tmp_path, variables=variables) == {"completion"}
