"""Checks and what follows from them."""

import asyncio
import logging

import pytest

from domain.errors import StoreUnavailable
from infrastructure.web.health import Check, Finding, Health, HealthStatus

OK, DEGRADED, DOWN = HealthStatus


async def fine() -> Finding:
    return Finding(facts={"n": 1})


async def tired() -> Finding:
    return Finding(DEGRADED, "it is tired")


async def away() -> Finding:
    raise StoreUnavailable(why="Connection refused")


async def broken() -> Finding:
    raise KeyError("secret")


async def hanging() -> Finding:
    await asyncio.Event().wait()
    raise AssertionError


async def test_without_checks_all_is_well() -> None:
    report = await Health([]).look()
    assert (report.status, report.components) == (OK, {})


async def test_the_worst_part_decides() -> None:
    report = await Health([Check("a", fine), Check("b", tired)]).look()
    assert report.status is DEGRADED
    assert report.components == {"a": Finding(OK, "", {"n": 1}), "b": Finding(DEGRADED, "it is tired")}
    assert (await Health([Check("a", tired), Check("b", away), Check("c", fine)]).look()).status is DOWN


async def test_what_the_program_can_do_without_is_degraded_at_worst() -> None:
    report = await Health([Check("a", away, at_worst=DEGRADED), Check("b", hanging, at_worst=DEGRADED)], 0.01).look()
    assert report.status is DEGRADED
    assert "Connection refused" in report.components["a"].detail


async def test_a_check_that_fails_is_logged_and_shown_without_its_inside(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        report = await Health([Check("a", broken)]).look()
    assert report.components["a"] == Finding(DOWN, "its check failed: KeyError")
    assert "secret" in caplog.text


async def test_checks_that_hang_do_not_wait_for_each_other() -> None:
    health = Health([Check(str(number), hanging) for number in range(100)] + [Check("fine", fine)], timeout_s=0.05)
    async with asyncio.timeout(20):  # 100 x 0.05 s one after another would be 5 s; nobody measures here
        report = await health.look()
    assert report.components["0"] == Finding(DOWN, "it did not answer within 0.05 s")
    assert report.components["fine"].status is OK
