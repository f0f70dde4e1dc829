"""An older and a newer program side by side: each takes its own, what nobody knows is parked, and comes back."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from distributed.api_of import ApiOf
from distributed.fleet import HERE, SOURCES, Fleet, Member, running_fleet


@pytest.fixture
def fleet(redis_url: str, namespace: str, tmp_path: Path) -> Iterator[Fleet]:
    with running_fleet(redis_url, namespace, tmp_path, lease_s=2.0) as running:
        yield running


def start(fleet: Fleet, version: str, role: str) -> Member:
    """Start a process that has the jobs as ``older`` or ``newer`` has them."""
    return fleet.start(
        role,
        PYTHONPATH=os.pathsep.join((str(HERE / version), str(HERE), str(SOURCES))),
        ROUNDSMAN_BACKGROUND_JOBS__MODULES='["two_versions"]',
        ROUNDSMAN_BACKGROUND_JOBS__CONTAINERS='["two_versions:Container"]',
    )


def phases(fleet: Fleet, job_id: str) -> set[tuple[str, int]]:
    """Return who ran a job: what it wrote, and in which process."""
    return {(line.phase, line.pid) for line in fleet.lines() if line.job_id == job_id}


def count(schedule_id: str, **data: Any) -> dict[str, Any]:
    return {"id": schedule_id, "name": "Count", "data": data, "trigger": {"interval_s": 0.2}}


def test_old_and_new_side_by_side_and_what_nobody_knows(fleet: Fleet) -> None:
    older = start(fleet, "older", "all")
    with ApiOf(fleet, older) as old_api, ApiOf(fleet, start(fleet, "newer", "api")) as new_api:
        old_api.call("POST", "/schedules", 201, count("old"))
        new_api.call("POST", "/schedules", 201, count("new", step=3))
        new_api.call("POST", "/schedules", 201, count("stopped", step=4))
        fleet.wait(lambda: phases(fleet, "old") == {("older", older.pid)}, "the older one to run its own")
        fleet.wait(
            lambda: [one["id"] for one in old_api.get("/schedules?state=parked")["items"]] == ["new", "stopped"],
            "what nobody knows to be parked",
        )
        reason = old_api.get("/schedules/new")["parked"]["reason"]
        assert "no running instance knows 'Count' in version 2" in reason
        assert old_api.call("DELETE", "/schedules/stopped")["stopped"] is True, "who cannot run it can stop it"
        assert phases(fleet, "new") == set()

        newer = start(fleet, "newer", "scheduler")
        fleet.wait(lambda: phases(fleet, "new") == {("newer by 3", newer.pid)}, "it to go on by itself")
        fleet.wait(lambda: old_api.get("/schedules/new")["status"] == "active", "its mark to go")
        new_api.call("POST", "/schedules", 200, count("old", step=5))
        fleet.wait(lambda: ("newer by 5", newer.pid) in phases(fleet, "old"), "the newer one to have it")
        before = [line for line in fleet.lines() if line.job_id == "old" and line.phase == "older"]
        fleet.wait(lambda: len(fleet.lines()) > len(before) + 20, "more runs")
        after = [line for line in fleet.lines() if line.job_id == "old" and line.phase == "older"]
        assert after == before, "the older one takes it no more"
        assert phases(fleet, "stopped") == set()
        assert {line.attempt for line in fleet.lines()} == {1}, "nobody takes what it must give back"
        assert "Traceback" not in fleet.logs()


def test_a_rolling_deploy_to_a_newer_version_parks_nothing_and_loses_no_schedule(fleet: Fleet) -> None:
    older = [start(fleet, "older", "all"), start(fleet, "older", "scheduler")]
    with ApiOf(fleet, older[0]) as api:
        api.call("POST", "/schedules", 201, count("s"))
        fleet.wait(lambda: phases(fleet, "s"), "the older ones to run it")
        newer = [start(fleet, "newer", "scheduler"), start(fleet, "newer", "all")]
        fleet.wait(lambda: len(api.get("/instances?state=alive")["items"]) == 4, "old and new side by side")
        assert fleet.end(older[1]) == 0
        seen = len(fleet.lines())
        fleet.wait(lambda: len(fleet.lines()) > seen + 3, "the older one that is left to go on")
    with ApiOf(fleet, newer[1]) as api:
        api.call("PATCH", "/schedules/s", 422, {"trigger": {"interval_s": 0.3}})
        api.call("POST", "/schedules", 200, count("s", step=7))
        assert fleet.end(older[0]) == 0
        fleet.wait(lambda: {phase for phase, _ in phases(fleet, "s")} == {"older", "newer by 7"}, "the newer ones")
        assert api.get("/schedules?state=parked")["items"] == []


def test_a_deploy_forth_and_back_where_the_newer_program_upgrades(fleet: Fleet) -> None:
    older = start(fleet, "older", "scheduler")
    with ApiOf(fleet, start(fleet, "older", "api")) as api:
        api.call("POST", "/schedules", 201, count("s"))
        fleet.wait(lambda: phases(fleet, "s") == {("older", older.pid)}, "the older one to run it")
        newer = start(fleet, "upgrading", "scheduler")
        fleet.wait(lambda: ("newer by 1", newer.pid) in phases(fleet, "s"), "the newer one to run it too")
        assert fleet.end(older) == 0
        seen = len(fleet.lines())
        fleet.wait(lambda: len(fleet.lines()) > seen + 5, "the newer one alone")
        assert {line.phase for line in fleet.lines()[seen:]} == {"newer by 1"}
        assert api.get("/schedules/s")["version"] == 1, "it is stored as it was"
        again = start(fleet, "older", "scheduler")
        fleet.wait(lambda: ("older", again.pid) in phases(fleet, "s"), "the older one to run it again")
        assert fleet.end(newer) == 0
        seen = len(fleet.lines())
        fleet.wait(lambda: len(fleet.lines()) > seen + 5, "the older one alone")
        assert {line.phase for line in fleet.lines()[seen:]} == {"older"}
        assert api.get("/schedules?state=parked")["items"] == []
        run_ids = [line.run_id for line in fleet.lines()]
        assert len(set(run_ids)) == len(run_ids), "no fire ran twice"
    assert "Traceback" not in fleet.logs()


def test_what_a_killed_older_process_was_executing_is_taken_over_upgraded(fleet: Fleet) -> None:
    older = start(fleet, "older", "scheduler")
    with ApiOf(fleet, start(fleet, "upgrading", "api")) as new_api, ApiOf(fleet, start(fleet, "older", "api")) as api:
        trigger = {"cron": "0 0 29 2 *"}
        api.call("POST", "/schedules", 201, {"id": "s", "name": "CountSlowly", "trigger": trigger})
        new_api.call("POST", "/schedules/s/run", 202)
        fleet.wait(lambda: phases(fleet, "s") == {("older", older.pid)}, "the older one to begin")
        newer = start(fleet, "upgrading", "scheduler")
        fleet.kill(older)
        fleet.wait(lambda: ("newer by 1", newer.pid) in phases(fleet, "s"), "the newer one to take it over")
        assert [line.attempt for line in fleet.lines()] == [1, 2]
        new_api.call("PATCH", "/schedules/s", 200, {})
        assert new_api.get("/schedules/s")["version"] == 2
        assert new_api.get("/schedules/s")["data"] == {"step": 1}
        refused = api.call("PATCH", "/schedules/s", 422, {"trigger": {"interval_s": 3}})
        assert "'CountSlowly' has version 2; this program knows version 1" in refused["detail"]
