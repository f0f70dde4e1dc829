"""Processes of all three roles: who is there, who is silent, who is gone, and what an API-only one can do."""

import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import pytest

from cli_support import environment, roundsman
from distributed.api_of import ApiOf
from distributed.fleet import ROUNDSMAN, Fleet, Member, running_fleet

NO_CONTAINER = {"ROUNDSMAN_BACKGROUND_JOBS__CONTAINERS": "[]"}


@pytest.fixture
def fleet(redis_url: str, namespace: str, tmp_path: Path) -> Iterator[Fleet]:
    with running_fleet(redis_url, namespace, tmp_path, lease_s=1.0) as running:
        yield running


def stands(api: ApiOf, member: Member) -> tuple[str, str | None]:
    """Return how a process is shown: its status, and why it went."""
    found = api.instances().get(member.pid, {})
    return found.get("status", "unknown"), found.get("why")


def test_who_is_there_who_is_silent_and_who_is_gone(fleet: Fleet) -> None:
    controlling, executing, both = fleet.start("api"), fleet.start("scheduler"), fleet.start("all", CLOCK_OFF_S="300")
    with ApiOf(fleet, controlling) as api:
        fleet.wait(lambda: len(api.instances()) == 3, "three instances")
        found = api.instances()
        assert {pid: one["role"] for pid, one in found.items()} == {
            controlling.pid: "api",
            executing.pid: "scheduler",
            both.pid: "all",
        }
        assert found[controlling.pid]["lanes"] == []
        assert {"Write@1", "WriteOnce@1"} <= set(found[executing.pid]["lanes"])
        fleet.wait(lambda: abs(api.instances()[both.pid]["clock_offset_s"] or 0) > 200, "the clock to be measured")
        assert abs(api.instances()[executing.pid]["clock_offset_s"]) < 5
        wrong = api.instances()[both.pid]
        assert wrong["started_at"] < wrong["last_seen_at"], "both by the store's clock"
        with ApiOf(fleet, both) as its_own:
            assert "this host's clock is +2" in its_own.health()["store"]["detail"]
        assert "clock" not in api.health()["store"].get("detail", "")
        told = roundsman("instances", url=api.base)
        assert "ahead of the store's" in told.err
        assert told.err.count("the clock of") == 1

        fleet.kill(executing)
        both.freeze()
        fleet.wait(lambda: stands(api, executing) == ("silent", None), "the killed one to be silent")
        assert f"{api.instances()[executing.pid]['id']} is silent" in roundsman("instances", url=api.base).err
        for member in (executing, both):
            fleet.wait(lambda member=member: stands(api, member) == ("gone", "vanished"), "it to be declared gone")
        listed = roundsman("instances", "--json", url=api.base).json["items"]
        assert [one["pid"] for one in listed] == [controlling.pid]

        both.thaw()
        fleet.wait(lambda: stands(api, both) == ("alive", None), "the thawed one to join again")
        fleet.wait(lambda: "this instance was declared gone" in both.said, "it to be told so")
        assert fleet.end(both) == 0
        assert stands(api, both) == ("gone", "stopped")
        assert fleet.end(controlling) == 0


def test_an_api_only_process_controls_jobs_whose_dependencies_it_lacks(fleet: Fleet) -> None:
    controlling, _ = fleet.start("api", **NO_CONTAINER), fleet.start("scheduler")
    with ApiOf(fleet, controlling) as api:
        write = {"id": "w", "name": "Write", "data": {}, "trigger": {"interval_s": 0.2}}
        assert api.call("POST", "/schedules", 201, write)["status"] == "active"
        fleet.wait(lambda: len(fleet.lines("end")) > 2, "the other to execute it")
        api.call("POST", "/schedules", 422, {**write, "data": {"hold_s": "for ever"}})
        api.call("POST", "/schedules", 422, {**write, "name": "Wriet"})
        assert api.call("POST", "/schedules/w/pause", 200, {"reason": "so"})["paused"]["reason"] == "so"
        assert [one["id"] for one in api.get("/schedules?state=paused")["items"]] == ["w"]
        fleet.wait(lambda: api.get("/schedules/w")["running"] == [], "its last run to end")
        run_id = api.call("POST", "/schedules/w/run", 202)["run_id"]
        fleet.wait(lambda: [line for line in fleet.lines("end") if line.run_id == run_id], "the run now")
        since, until = (datetime.now(UTC) - timedelta(seconds=1)).isoformat(), datetime.now(UTC).isoformat()
        made = api.call("POST", "/schedules/w/backfill", 202, {"since": since, "until": until})["run_ids"]
        fleet.wait(lambda: set(made) <= {line.run_id for line in fleet.lines("end")}, "the backfill")
        assert api.call("POST", "/schedules/w/resume")["status"] == "active"
        api.call("PATCH", "/schedules/w", 200, {"data": {"hold_s": 60.0}})
        running = fleet.wait(lambda: api.get("/schedules/w")["running"], "a run that holds")
        stopped = api.call("DELETE", "/schedules/w?cancel_running=true")
        assert (stopped["running"], stopped["cancelled"]) == (running, running)
        api.call("GET", "/schedules/w", 404)
        fleet.wait(lambda: [one["claimed"] for one in api.instances().values()] == [0, 0], "the cancelled one to end")


def test_an_executing_process_without_what_its_jobs_need_refuses_to_start(fleet: Fleet) -> None:
    refused = fleet.start("scheduler", **NO_CONTAINER)
    assert refused.wait(60) == 1
    refused.dismissed = True
    assert "Write" in refused.said
    assert "Ledger" in refused.said
    assert "Traceback" not in refused.said


def test_a_scheduler_only_process_listens_nowhere(fleet: Fleet) -> None:
    controlling, executing = fleet.start("api"), fleet.start("scheduler")
    with ApiOf(fleet, controlling) as api:
        fleet.wait(lambda: stands(api, executing)[0] == "alive", "it to announce itself")
    listening = {
        process.pid: [one for one in process.net_connections("inet") if one.status == psutil.CONN_LISTEN]
        for process in (psutil.Process(controlling.pid), psutil.Process(executing.pid))
    }
    assert len(listening[controlling.pid]) == 1
    assert listening[executing.pid] == []


@pytest.mark.parametrize("role", ["api", "scheduler"])
def test_a_role_of_its_own_needs_a_store_that_others_reach(tmp_path: Path, role: str) -> None:
    found = subprocess.run(
        [ROUNDSMAN, "run", "--role", role], cwd=tmp_path, env=environment(), capture_output=True, check=False
    )
    assert found.returncode == 1
    assert f"The role '{role}' shares its store".encode() in found.stderr
    assert list(tmp_path.iterdir()) == []
