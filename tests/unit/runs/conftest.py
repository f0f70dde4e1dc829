"""What the tests of runs share."""

from collections.abc import AsyncIterator

import pytest

from unit.runs.gate_kit import Gate


@pytest.fixture
async def gate() -> AsyncIterator[Gate]:
    """A gate that opens when the test is over, so that no body and no thread stays."""
    made = Gate()
    yield made
    made.open.set()
    made.threads_may_end.set()
