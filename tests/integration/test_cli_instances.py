"""``roundsman instances``: as it asks, as it prints, and against the real program."""

import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from cli_program import Program
from cli_support import Reply, roundsman, scripted
from support import wait_until_sync


def moment(ago_s: float) -> str:
    return (datetime.now(UTC) - timedelta(seconds=ago_s)).isoformat().replace("+00:00", "Z")


def instance(instance_id: str = "h-1-a", **more: Any) -> dict[str, Any]:
    facts = {"role": "all", "version": "0.1.0", "host": "h", "pid": 1, "started_at": moment(7200), "gone_at": None}
    facts |= {"last_seen_at": moment(1), "status": "alive", "why": None, "clock_offset_s": 0.002, "claimed": 3}
    return {"id": instance_id, **facts, "lanes": ["Note@1"], "loop_blocked": False, **more}


def page(*items: dict[str, Any]) -> Reply:
    return Reply({"items": list(items), "next_cursor": None})


@pytest.mark.parametrize(("more", "query"), [((), "gone=false"), (("--gone",), "gone=true")])
def test_it_asks_for_the_gone_only_when_told_to(more: tuple[str, ...], query: str) -> None:
    with scripted(page()) as server:
        found = roundsman("instances", *more, url=server.url)
    assert (found.status, found.out, found.err) == (0, "", "No instances.\n")
    assert server.requests[0].path == f"/api/v1/instances?{query}&limit=200"


def test_what_is_well_is_a_table_without_a_warning() -> None:
    with scripted(page(instance(), instance("h-2-b", role="api", clock_offset_s=None, claimed=0))) as server:
        found = roundsman("instances", url=server.url)
    assert found.err == ""
    titles, first, second = found.out.splitlines()
    assert titles.split() == ["ID", "ROLE", "VERSION", "STATUS", "LAST", "SEEN", "STARTED", "CLAIMED", "CLOCK"]
    assert first.split()[:4] == ["h-1-a", "all", "0.1.0", "alive"]
    assert first.endswith("3    0 s")
    assert "(2 h ago)" in first
    assert second.endswith("0      -")


def test_wrong_clocks_silent_and_blocked_ones_are_pointed_out() -> None:
    rows = (
        instance("h-1-a", clock_offset_s=2.5),
        instance("h-2-b", clock_offset_s=-90, host="slow"),
        instance("h-3-c", status="silent", last_seen_at=moment(12)),
        instance("h-4-d", loop_blocked=True),
        instance("h-5-e", clock_offset_s=-0.9),
    )
    with scripted(page(*rows)) as server:
        found = roundsman("instances", url=server.url)
    assert found.status == 0
    ahead, behind, silent, blocked = found.err.splitlines()
    assert ahead == "Warning: the clock of h is 2.5 s ahead of the store's."
    assert behind == "Warning: the clock of slow is 1 min 30 s behind the store's."
    assert silent.startswith("Warning: h-3-c is silent: nothing was heard of it since 20")
    assert "12 s ago" in silent
    assert blocked.startswith("Warning: a job of h-4-d blocks its event loop")
    assert [line.split()[3] for line in found.out.splitlines()[1:]] == ["alive", "alive", "silent", "blocked", "alive"]


def test_who_is_gone_is_shown_with_when_and_how_and_warned_of_no_more() -> None:
    gone = {"status": "gone", "why": "vanished", "gone_at": moment(30), "clock_offset_s": 60}
    with scripted(page(instance("h-1-a", **gone))) as server:
        found = roundsman("instances", "--gone", url=server.url)
    assert found.err == ""
    titles, line = found.out.splitlines()
    assert titles.endswith("GONE")
    assert line.split()[3] == "vanished"
    assert line.endswith("(30 s ago)")


def test_json_is_the_apis_without_warnings() -> None:
    with scripted(page(instance(status="silent"))) as server:
        found = roundsman("instances", "--json", "--limit", "1", url=server.url)
    assert found.err == ""
    assert found.json["items"][0]["status"] == "silent"
    assert server.requests[0].path.endswith("limit=1")


def test_a_wrong_command_line_is_refused() -> None:
    assert roundsman("instances", "--limit", "0").status == 2
    assert roundsman("instances", "i1").status == 2


def test_the_program_shows_itself(redis_url: str, namespace: str, tmp_path: Path) -> None:
    with Program(tmp_path, redis_url, f"{namespace}{uuid.uuid4().hex[:4]}") as program:
        (found,) = wait_until_sync(lambda: program.json("instances")["items"], "the program to announce itself")
        assert (found["role"], found["status"]) == ("all", "alive")
        assert "WorkerMetricsCollectionJob@1" in found["lanes"]
        assert found["id"] in program("instances").out
        store = program.json("health")["components"]["store"]
        assert abs(store["facts"]["clock_offset_s"]) < 5
        assert "detail" not in store
