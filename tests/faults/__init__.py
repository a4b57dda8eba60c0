"""Everything that can go wrong around a command, done to it on purpose."""

import pytest

pytest.register_assert_rewrite("tests.faults.witness", "tests.faults.work")
