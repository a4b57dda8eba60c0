"""The profile of hypothesis."""

from __future__ import annotations

from tests.hypothesis_profile import settings

__all__ = ["settings"]
