"""What the doctor makes of what it is told: pure, one case each."""

from pathlib import Path
from typing import Any

import pytest

from infrastructure.cli.doctor_fleet import Fleet, judge
from infrastructure.cli.doctor_machine import look_at_data, look_at_machine, owner_of
from infrastructure.cli.doctor_store import connections, memory, persistence
from infrastructure.cli.findings import Finding, Level

SERVER = {
    "redis_version": "7.2.4",
    "aof_enabled": 1,
    "maxmemory": 0,
    "maxmemory_policy": "noeviction",
    "used_memory": 1000,
}
HERE: dict[str, Any] = {
    "id": "h-1-a",
    "host": "h",
    "role": "all",
    "version": "0.1.0",
    "status": "alive",
    "clock_offset_s": 0.01,
    "loop_blocked": False,
    "last_seen_at": "2026-11-22T08:00:00Z",
}


def wrong(findings: Any) -> dict[str, Finding]:
    found = {finding.name: finding for finding in findings if finding.level is Level.WRONG}
    assert all(finding.mend and finding.says for finding in found.values())
    return found


def judged(*instances: dict[str, Any], **more: Any) -> dict[str, Finding]:
    return wrong(judge(Fleet(list(instances), **more), "0.1.0"))


def test_a_server_that_keeps_everything_is_well() -> None:
    assert wrong([*persistence(SERVER, None, "disk"), *memory(SERVER), connections(SERVER)]) == {}


@pytest.mark.parametrize("saves", ["", "3600 1", None])
def test_a_server_without_an_append_only_file_is_not(saves: str | None) -> None:
    assert set(wrong(persistence({**SERVER, "aof_enabled": 0}, saves, "memory"))) == {"persistence"}


def test_each_thing_that_keeps_data_from_the_disk_is_told() -> None:
    bad = {**SERVER, "aof_enabled": 0, "aof_last_write_status": "err", "rdb_last_bgsave_status": "err"}
    assert set(wrong(persistence(bad, "", "disk"))) == {"persistence", "disk of the store", "snapshots", "durability"}


def test_a_server_that_evicts_or_is_full_is_told() -> None:
    bounded = {**SERVER, "maxmemory": 10_000}
    assert wrong(memory(bounded)) == {}
    assert set(wrong(memory({**bounded, "maxmemory_policy": "allkeys-lru"}))) == {"eviction"}
    assert set(wrong(memory({**bounded, "used_memory": 9_500}))) == {"memory"}
    assert wrong([connections({**SERVER, "connected_clients": 95, "maxclients": 100})]).keys() == {"connections"}


def test_one_instance_of_this_version_is_well() -> None:
    assert judged(HERE) == {}


@pytest.mark.parametrize(
    ("instances", "name", "said"),
    [
        ([], "executing", "No running instance"),
        ([{**HERE, "role": "api"}], "executing", "No running instance"),
        ([{**HERE, "status": "gone"}], "executing", "No running instance"),
        ([HERE, {**HERE, "id": "h-2-b", "version": "0.2.0"}], "versions", "0.1.0, 0.2.0"),
        ([{**HERE, "version": "0.2.0"}], "versions", "0.2.0"),
        ([HERE, {**HERE, "id": "h-2-b", "status": "silent"}], "silent", "h-2-b"),
        ([{**HERE, "loop_blocked": True}], "blocked", "h-1-a"),
        ([{**HERE, "clock_offset_s": -2.5}], "clock", "2.5 s behind"),
        ([{**HERE, "clock_offset_s": 3}], "clock", "3.0 s ahead"),
    ],
)
def test_what_is_wrong_with_instances_is_told(instances: list[dict[str, Any]], name: str, said: str) -> None:
    assert said in judged(*instances)[name].says


def test_what_waits_for_a_person_is_told() -> None:
    found = judged(
        HERE, parked_runs=2, parked_schedules={"s1": "it cannot be loaded"}, parked_events=["1-0 (group g: no)"]
    )
    assert set(found) == {"parked", "events"}
    assert "s1 (it cannot be loaded)" in found["parked"].says
    assert "resume ID" in found["parked"].mend


def test_instances_of_another_shape_are_no_reason_to_break() -> None:
    list(judge(Fleet([{"id": None}, {"status": 5, "clock_offset_s": "x"}]), "0.1.0"))


def test_this_machine_is_well() -> None:
    assert wrong(look_at_machine()) == {}


def test_a_data_directory_is_looked_at_and_left_as_it_is(tmp_path: Path) -> None:
    found = {finding.name: finding for finding in look_at_data(tmp_path, is_used=True)}
    assert set(found) == {"space", "fsync"}
    assert found["fsync"].facts["fsync_s"] > 0
    assert list(tmp_path.iterdir()) == []
    absent = {finding.name: finding.level for finding in look_at_data(tmp_path / "a" / "b", is_used=True)}
    assert absent["directory"] is Level.NOTE
    assert list(tmp_path.iterdir()) == []
    assert owner_of(tmp_path) is None
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_its_place_is_told(tmp_path: Path) -> None:
    (tmp_path / "var").touch()
    assert set(wrong(look_at_data(tmp_path / "var", is_used=True))) == {"directory"}
    assert wrong(look_at_data(tmp_path / "var", is_used=False)) == {}
