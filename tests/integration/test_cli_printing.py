"""What commands print of an answer: tables and sentences for people, exact JSON for programs."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from cli_support import Reply, roundsman, scripted

SAMPLE = {
    "worker_id": "w1",
    "observed_at": "2026-11-22T08:00:00Z",
    "status": "running",
    "metrics": {
        "cpu_utilization": 0.123,
        "memory_utilization": None,
        "memory_limit_bytes": 8_589_934_592,
        "load_1m": 0.5,
        "filesystems": {"/": 0.42, "/data": 0.87},
        "disk_read_bytes_per_s": 0,
        "uptime_s": 90_000,
    },
    "missing": {"memory_utilization": "no permission"},
}
MONITORING = {"job_id": "worker-metrics-w1", "interval_s": 5.0, "next_run_time": "2026-11-22T08:00:05Z"}
WORKER = {"id": "w1", "name": "Build box", "provider": "local", "status": "running", "labels": {"team": "web"}}
SCHEDULE = {
    "id": "s1",
    "name": "Ledger",
    "data": {"label": "a"},
    "trigger": {"interval_s": 30.0},
    "policy": {"overlap": "skip", "end": None},
    "status": "paused",
    "next_fire": None,
    "next_run_time": None,
    "last_outcome": "succeeded",
    "counts": {"fired": 3},
    "running": ["s1@1.2", "s1@1.3"],
    "parked_runs": {"s1@1.1": "it has outlived 6 owners"},
    "paused": {"at": "2026-11-22T08:00:00Z", "by": "ops", "reason": "move"},
    "parked": None,
}
COMPONENTS: dict[str, Any] = {
    "store": {"status": "ok", "detail": "", "facts": {}},
    "scheduler": {"status": "down", "detail": "no tick for 9 s", "facts": {"last_tick": 9}},
}


def page(*items: dict[str, Any], cursor: str | None = None) -> Reply:
    return Reply({"items": list(items), "next_cursor": cursor})


class TestLists:
    """Lists are read to their end."""

    def test_pages_are_followed_and_printed_as_one(self) -> None:
        with scripted(page({"id": "a"}, {"id": "b"}, cursor="b"), page({"id": "c"})) as server:
            found = roundsman("schedules", "list", "--state", "active", "--name", "Ledger", "--json", url=server.url)
        assert found.json == {"items": [{"id": "a"}, {"id": "b"}, {"id": "c"}], "next_cursor": None}
        assert [request.path for request in server.requests] == [
            "/api/v1/schedules?name=Ledger&state=active&limit=200",
            "/api/v1/schedules?name=Ledger&state=active&limit=200&cursor=b",
        ]

    def test_a_limit_ends_the_list_and_says_so(self) -> None:
        with scripted(page({"id": "a"}, {"id": "b"}, cursor="b&?")) as server:
            found = roundsman("workers", "list", "--limit", "2", url=server.url)
        assert found.status == 0
        assert [line.split()[0] for line in found.out.splitlines()] == ["ID", "a", "b"]
        assert found.err == "2 shown; there are more (--limit).\n"
        assert server.requests[0].path == "/api/v1/workers?limit=2"

    def test_the_last_page_asks_for_no_more_than_the_limit_leaves(self) -> None:
        with scripted(page({"id": "a"}, {"id": "b"}, cursor="b&?"), page({"id": "c"}, cursor="c")) as server:
            found = roundsman("workers", "list", "--limit", "3", "--json", url=server.url)
        assert found.json["next_cursor"] == "c"
        assert server.requests[1].path == "/api/v1/workers?limit=1&cursor=b%26%3F"

    @pytest.mark.parametrize("stuck", [page({"id": "a"}, cursor="a"), page(cursor="a")])
    def test_a_list_without_an_end_is_an_error(self, stuck: Reply) -> None:
        with scripted(stuck) as server:
            found = roundsman("workers", "list", url=server.url)
        assert (found.status, found.out) == (1, "")
        assert "its 'next_cursor' leads nowhere" in found.err

    @pytest.mark.parametrize("command", ["workers list", "schedules list", "alerts list", "schedules runs s1"])
    def test_an_empty_list_is_success_and_prints_nothing_to_stdout(self, command: str) -> None:
        with scripted(page()) as server:
            found = roundsman(*command.split(), url=server.url)
            as_json = roundsman(*command.split(), "--json", url=server.url)
        assert (found.status, found.out) == (0, "")
        assert found.err
        assert as_json.json == {"items": [], "next_cursor": None}

    def test_items_of_an_odd_shape_are_shown_as_far_as_they_go(self) -> None:
        with scripted(page({"id": 5, "last_sample": "none", "monitoring": [], "name": None})) as server:
            found = roundsman("workers", "list", url=server.url)
        assert found.status == 0
        assert found.out.splitlines()[1].split() == ["5", "-", "-", "-", "-", "-", "-", "-"]


class TestPrinting:
    """Tables for people, exact JSON for programs."""

    def test_json_keeps_the_order_and_the_values_of_the_api(self) -> None:
        body = '{"z": 1.0, "a": [1e3, null, true, "\\u00e9\\ud83d\\ude91"], "big": 12345678901234567890}'
        with scripted(Reply(body)) as server:
            found = roundsman("workers", "show", "w1", "--json", url=server.url)
        assert (
            "".join(found.out.split())
            == '{"z":1.0,"a":[1000.0,null,true,"\\u00e9\\ud83d\\ude91"],"big":12345678901234567890}'
        )
        assert found.out.isascii()

    def test_workers_are_listed_with_their_last_sample(self) -> None:
        worker = {**WORKER, "monitoring": MONITORING, "last_sample": SAMPLE}
        with scripted(page(worker, WORKER)) as server:
            found = roundsman("workers", "list", url=server.url)
        title, first, second = found.out.splitlines()
        assert title.split("  ")[0] == "ID"
        assert "w1  Build box  local" in first
        assert "every 5 s" in first
        assert "12.3 %" in first
        assert "2026-11-22 08:00:00Z (" in first
        assert second.split()[-4:] == ["-", "-", "-", "-"]
        assert not any(line.endswith(" ") for line in found.out.splitlines())

    def test_a_worker_is_shown_with_each_metric_or_why_it_has_none(self) -> None:
        with scripted(Reply({**WORKER, "monitoring": MONITORING, "last_sample": SAMPLE})) as server:
            found = roundsman("workers", "show", "w1", url=server.url)
        lines = [" ".join(line.split()) for line in found.out.splitlines()]
        assert "Labels team=web" in lines
        assert "memory_utilization - (no permission)" in lines
        assert "memory_limit_bytes 8 GiB" in lines
        assert "filesystems / 42.0 %" in lines
        assert "/data 87.0 %" in lines
        assert "uptime_s 1 d 1 h" in lines

    def test_samples_are_listed(self) -> None:
        with scripted(page(SAMPLE)) as server:
            found = roundsman("workers", "metrics", "w1", "--since", "2026-11-22T07:00:00Z", url=server.url)
        assert "/data  87.0 %" in found.out
        assert "0 B/s" in found.out
        assert server.requests[0].path == "/api/v1/workers/w1/metrics?since=2026-11-22T07%3A00%3A00Z&limit=10000"

    def test_a_schedule_is_shown_with_why_it_rests(self) -> None:
        with scripted(Reply(SCHEDULE)) as server:
            found = roundsman("schedules", "show", "s1", url=server.url)
        lines = [" ".join(line.split()) for line in found.out.splitlines()]
        assert "When every 30 s" in lines, "an older server does not say it in words"
        assert any(line.startswith("Paused 2026-11-22 08:00:00Z (") and line.endswith("by ops, move") for line in lines)
        assert lines[lines.index("Running now s1@1.2") + 1] == "s1@1.3"
        assert "Parked runs s1@1.1: it has outlived 6 owners" in lines
        assert "Policy overlap: skip" in lines

    def test_a_schedule_is_shown_in_words_with_its_next_five_fires(self) -> None:
        trigger = {"both": [{"interval_s": 7200.0}, {"cron": "* * * * 1-5"}], "timezone": "Europe/Brussels"}
        fires = [f"2026-11-{day}T08:00:00Z" for day in (23, 24, 25, 26, 27)]
        said = "every 2 hours on weekdays, Europe/Brussels"
        schedule = {**SCHEDULE, "trigger": trigger, "when": said, "next_fires": fires, "version": 3}
        with scripted(Reply(schedule), page({**schedule, "next_fires": None})) as server:
            shown = roundsman("schedules", "show", "s1", url=server.url)
            listed = roundsman("schedules", "list", url=server.url)
        lines = [" ".join(line.split()) for line in shown.out.splitlines()]
        assert f"When {said}" in lines
        assert "Data version 3" in lines
        first = next(n for n, line in enumerate(lines) if line.startswith("Next five 2026-11-23 08:00:00Z ("))
        assert [line[:20] for line in lines[first + 1 : first + 5]] == [
            f"2026-11-{day} 08:00:00Z" for day in range(24, 28)
        ]
        assert said in listed.out

    def test_runs_and_alerts_are_listed(self) -> None:
        run = {
            "run_id": "s1@1.2",
            "reason": "fire",
            "status": "failed",
            "attempt": 2,
            "started_at": "2026-11-22T08:00:00Z",
            "ended_at": "2026-11-22T08:01:30Z",
            "error": "no\nroute",
        }
        alert = {"state": "firing", "severity": "critical", "rule_id": "high-cpu", "worker_id": "w1", "summary": "97 %"}
        with scripted(page(run), page(alert)) as server:
            runs = roundsman("schedules", "runs", "s1", url=server.url)
            alerts = roundsman("alerts", "list", "--state", "firing", url=server.url)
        assert "1 min 30 s" in runs.out
        assert "no\\nroute" in runs.out
        assert alerts.out.splitlines()[1].split()[:4] == ["firing", "critical", "high-cpu", "w1"]
        assert server.requests[1].path == "/api/v1/alerts?state=firing&limit=200"

    def test_a_name_does_not_steer_the_terminal(self) -> None:
        with scripted(page({**WORKER, "name": "[red]\x1b[31mBox\u202e"})) as server:
            found = roundsman("workers", "list", url=server.url)
        assert "[red]\\x1b[31mBox\\u202e" in found.out
        assert "\x1b" not in found.out

    def test_distances_are_by_the_clock_of_the_server(self) -> None:
        there = datetime.now(UTC).replace(microsecond=0) + timedelta(days=400)
        due = {**SCHEDULE, "next_run_time": (there + timedelta(hours=3)).isoformat()}
        reply = Reply({"items": [due], "next_cursor": None}, headers={"Date": format_datetime(there, usegmt=True)})
        broken = Reply({"items": [due], "next_cursor": None}, headers={"Date": "yesterday"})
        with scripted(reply, broken) as server:
            found = roundsman("schedules", "list", url=server.url)
            fallback = roundsman("schedules", "list", url=server.url)
        assert any(text in found.out for text in ("(in 3 h)", "(in 2 h 59 min)"))
        assert "(in 400 d" in fallback.out


class TestStopping:
    """What a stop says, must be true."""

    @pytest.mark.parametrize(
        ("answer", "said"),
        [
            ({"stopped": True, "running": [], "cancelled": []}, ["Nothing of it was running."]),
            ({"stopped": True, "running": ["a", "b"], "cancelled": []}, ["Still runs, to its end: a, b"]),
            ({"stopped": True, "running": ["a", "b"]}, ["Still runs, to its end: a, b"]),
            (
                {"stopped": True, "running": ["a", "b"], "cancelled": ["a"]},
                ["Told to end: a", "Still runs, to its end: b"],
            ),
            ({"stopped": True, "running": ["a"], "cancelled": ["a"]}, ["Told to end: a"]),
        ],
    )
    def test_it_says_what_was_stopped_and_what_still_runs(self, answer: dict[str, Any], said: list[str]) -> None:
        with scripted(Reply(answer)) as server:
            found = roundsman("schedules", "rm", "s1", url=server.url)
        assert found.out.splitlines() == ["s1 is stopped and removed.", *said]

    def test_the_json_is_that_of_the_api(self) -> None:
        answer = {"id": "s1", "stopped": True, "running": ["a"], "cancelled": []}
        with scripted(Reply(answer)) as server:
            found = roundsman("workers", "stop", "w1", "--json", url=server.url)
        assert found.json == answer


@pytest.mark.parametrize(
    ("monitoring", "said"),
    [
        (None, []),
        ({"running": []}, ["Its monitoring is stopped, its alerts are closed."]),
        ({"running": ["r1"]}, ["Its monitoring is stopped, its alerts are closed.", "Told to end: r1"]),
    ],
)
def test_removing_a_worker_says_what_ended(monitoring: object, said: list[str]) -> None:
    with scripted(Reply({**WORKER, "monitoring": monitoring}), Reply("", 204)) as server:
        found = roundsman("workers", "rm", "w1", "--cancel-running", url=server.url)
    assert found.out.splitlines() == ["Worker w1 is removed.", *said]
    assert [request.method for request in server.requests] == ["GET", "DELETE"]


class TestMonitoring:
    """Starting to watch tells new from known."""

    @pytest.mark.parametrize(("status", "first"), [(201, "Watching w1"), (200, "Still watching w1")])
    def test_it_says_how_often_and_when_next(self, status: int, first: str) -> None:
        with scripted(Reply(MONITORING, status)) as server:
            found = roundsman("workers", "monitor", "w1", "--interval", "5s", url=server.url)
        assert found.out.startswith(f"{first}: every 5 s. Next look: 2026-11-22 08:00:05Z (")


class TestHealth:
    """0 when it is ready, 5 when it is not."""

    def test_ready_is_success(self) -> None:
        with scripted(Reply({"status": "ok", "components": {"store": {"status": "ok"}}})) as server:
            found = roundsman("health", url=server.url)
        assert found.status == 0
        assert found.out.splitlines()[0] == f"Ready: ok ({server.url})"
        assert found.out.splitlines()[2].split() == ["store", "ok", "-"]
        assert server.requests[0].path == "/health/ready"

    def test_not_ready_is_no_success_and_names_each_component(self) -> None:
        with scripted(Reply({"status": "down", "components": COMPONENTS}, 503)) as server:
            found = roundsman("health", url=server.url)
            as_json = roundsman("health", "--json", url=server.url)
        assert found.status == 5
        assert found.out.splitlines()[0] == f"Not ready: down ({server.url})"
        assert found.out.splitlines()[3].split("  ")[-1].strip() == "no tick for 9 s, last_tick: 9"
        assert as_json.status == 5
        assert as_json.json["components"] == COMPONENTS

    def test_a_list_of_components_is_understood_too(self) -> None:
        components = [{"name": "store", "state": "ok", "lag_s": 0.5}]
        with scripted(Reply({"components": components})) as server:
            found = roundsman("health", url=server.url)
        assert found.out.splitlines()[2].split() == ["store", "ok", "lag_s:", "0.5"]

    @pytest.mark.parametrize("reply", [Reply("<h1>503", 503, "text/html"), Reply("", 500)])
    def test_the_503_of_a_proxy_is_unreachable(self, reply: Reply) -> None:
        with scripted(reply) as server:
            found = roundsman("health", url=server.url)
        assert (found.status, found.out) == (5, "")
