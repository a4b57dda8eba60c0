"""Settings of the process: made before torch is there, and never against the user's own."""

from __future__ import annotations

import os

import pytest

from vtnstream.cli.tuning import SPIN_COUNT, keep_freed_memory, spin_less


@pytest.mark.parametrize(
    "given, then",
    [
        ({}, {"GOMP_SPINCOUNT": SPIN_COUNT}),
        ({"GOMP_SPINCOUNT": "5"}, {"GOMP_SPINCOUNT": "5"}),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, {"OMP_WAIT_POLICY": "ACTIVE"}),
    ],
)
def test_threads_spin_less_unless_the_user_says_how_they_wait(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, str], then: dict[str, str]
) -> None:
    environment = dict(given)
    monkeypatch.setattr(os, "environ", environment)
    spin_less()
    assert environment == then


def test_allocator_setting_can_be_made_twice() -> None:
    keep_freed_memory()
    keep_freed_memory()
