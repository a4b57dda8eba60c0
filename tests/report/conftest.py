from __future__ import annotations

import pytest

from tests.report.videos import RATES, Case, make_case


@pytest.fixture(scope="session", params=sorted(RATES))
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    """A video at 23.976, 25, 29.97 and a variable rate, and a result for it."""
    return make_case(tmp_path_factory.mktemp("rates"), request.param)
