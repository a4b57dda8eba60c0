"""How many cases hypothesis tries: few and always the same ones in an ordinary run.

``HYPOTHESIS_PROFILE=wide pytest tests/properties`` tries many more, new ones each time. A module
that takes ``settings`` from here has the profile whichever tests were imported before.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

__all__ = ["settings"]

settings.register_profile(
    "ordinary",
    max_examples=60,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("wide", max_examples=5000, deadline=None, database=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ordinary"))
