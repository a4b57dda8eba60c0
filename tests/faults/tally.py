"""What the faults suite prints at its end: cases tried, survived, lost.

A test of this room takes the fixture ``cases`` and does each case in ``with cases(kind, name)``;
a case that fails is kept, the others go on, and the test fails with all of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

_PROPERTY = "faults"


@dataclass
class Cases:
    """The cases of one test: tried and lost, by kind."""

    tried: dict[str, int] = field(default_factory=dict)
    lost: dict[str, list[str]] = field(default_factory=dict)

    @contextmanager
    def __call__(self, kind: str, name: str = "") -> Iterator[None]:
        self.tried[kind] = self.tried.get(kind, 0) + 1
        try:
            yield
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # pytest's own failures are no Exception
            first = (str(error).strip() or type(error).__name__)[:2000]
            self.lost.setdefault(kind, []).append(f"{name}: {first}")

    def close(self, request: pytest.FixtureRequest) -> None:
        """Hand the counts to the table; fail for what was lost."""
        counts = [[kind, count, len(self.lost.get(kind, ()))] for kind, count in self.tried.items()]
        request.node.user_properties.append((_PROPERTY, counts))
        lost = [f"{kind}: {name}" for kind, names in self.lost.items() for name in names]
        if lost:
            pytest.fail(f"{len(lost)} lost\n\n" + "\n\n".join(lost), pytrace=False)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Adds up what the tests counted, whichever process ran them."""
    total: dict[str, list[int]] = {}
    for reports in terminalreporter.stats.values():
        for report in reports:
            if getattr(report, "when", None) != "teardown":
                continue
            for name, counts in report.user_properties:
                for kind, tried, lost in counts if name == _PROPERTY else ():
                    row = total.setdefault(kind, [0, 0])
                    row[0] += tried
                    row[1] += lost
    if not total:
        return
    terminalreporter.section("faults")
    width = max(len(kind) for kind in (*total, "all"))
    line = f"{{:<{width}}}  {{:>6}}  {{:>8}}  {{:>4}}"
    terminalreporter.line(line.format("cases", "tried", "survived", "lost"))
    total["all"] = [sum(row[i] for row in total.values()) for i in range(2)]
    for kind, (tried, lost) in total.items():
        terminalreporter.line(line.format(kind, tried, tried - lost, lost))
