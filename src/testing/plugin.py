"""Fixtures for pytest: ``job_kit`` and ``blocking_job_kit``. Name this module in ``pytest_plugins`` to have them.

It is no entry point: that would load it in every test run of the environment, also where nobody tests jobs, and where a
test suite has a package ``testing`` of its own it would find that one instead.
"""

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from testing.blocking import BlockingJobKit
from testing.errors import NoKitJobs
from testing.kit import JobKit

try:
    import pytest_asyncio

    async_fixture: Callable[[Any], Any] = pytest_asyncio.fixture
except ImportError:  # anyio's plugin takes plain ones
    async_fixture = pytest.fixture


@pytest.fixture
def kit_jobs(request: pytest.FixtureRequest) -> list[type]:
    """The jobs of the test: those that its module defines or imports. Override it to choose others."""
    jobs = [value for value in vars(request.module).values() if isinstance(value, type) and _is_job(value)]
    if not jobs:
        raise NoKitJobs(module=request.module.__name__)
    return list(dict.fromkeys(jobs))


@pytest.fixture
def kit_options() -> dict[str, Any]:
    """What ``JobKit`` takes beside jobs: ``given``, ``container``, ``at`` … Override it for a module or a class."""
    return {}


@async_fixture
async def job_kit(kit_jobs: list[type], kit_options: dict[str, Any]) -> AsyncIterator[JobKit]:
    """An open ``JobKit``, for async tests."""
    async with JobKit(*kit_jobs, **kit_options) as kit:
        yield kit


@pytest.fixture
def blocking_job_kit(kit_jobs: list[type], kit_options: dict[str, Any]) -> Iterator[BlockingJobKit]:
    """An open ``BlockingJobKit``, for tests that are not async."""
    with BlockingJobKit(*kit_jobs, **kit_options) as kit:
        yield kit


def _is_job(cls: type) -> bool:
    return "__definition__" in vars(cls)
