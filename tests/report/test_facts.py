"""Facts of a report: the editing."""

from __future__ import annotations

import pytest

from tests.report.cases import report
from vtnstream.report.facts import edit_facts


@pytest.mark.parametrize(
    ("shots", "average", "facts"),
    [
        (0, 0.0, ["0 shots", "3 cuts"]),
        (1, 34.6, ["1 shot", "3 cuts"]),
        (2, 17.3, ["2 shots", "17.3 s on average", "3 cuts"]),
    ],
)
def test_an_average_is_that_of_several_shots(shots: int, average: float, facts: list[str]) -> None:
    counts = {"shots": shots, "cuts": 3, "average_shot_seconds": average}
    one = report(run={"edits": counts})
    assert edit_facts(one) == facts
