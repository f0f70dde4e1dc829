"""What each command asks for, and what it prints of the answer."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

from cli_support import Reply, roundsman, scripted
from domain.errors import RoundsmanError

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
    "paused": {"at": "2026-11-22T08:00:00Z", "by": "ops", "reason": "move"},
    "parked": None,
}
ADD_WITH_EVERYTHING = (
    'schedules add Ledger --id l --data {"label":"a"} --interval 1h --overlap queue_one --catch-up none --jitter 2m '
    "--timeout 10m --max-retries 3 --start 2026-12-01T00:00:00Z --end 2027-12-01T00:00:00Z"
)
COMPONENTS: dict[str, Any] = {
    "store": {"status": "ok", "detail": "", "facts": {}},
    "scheduler": {"status": "down", "detail": "no tick for 9 s", "facts": {"last_tick": 9}},
}


def page(*items: dict[str, Any], cursor: str | None = None) -> Reply:
    return Reply({"items": list(items), "next_cursor": cursor})


@pytest.mark.parametrize(
    ("command", "method", "path", "body"),
    [
        ("workers show w1", "GET", "/workers/w1", None),
        ("workers add Box --provider local", "POST", "/workers", {"name": "Box", "provider": "local"}),
        (
            "workers add Box --provider aws --id b --region r --instance-id i-0 --label a=b --label c=d=e",
            "POST",
            "/workers",
            {
                "id": "b",
                "name": "Box",
                "provider": "aws",
                "region": "r",
                "instance_id": "i-0",
                "labels": {"a": "b", "c": "d=e"},
            },
        ),
        ("workers monitor w1", "PUT", "/workers/w1/monitoring", {}),
        ("workers monitor w1 --interval 2m", "PUT", "/workers/w1/monitoring", {"interval_s": 120.0}),
        ("workers monitor w1 --pause", "PUT", "/workers/w1/monitoring", {"paused": True}),
        ("workers monitor w1 --resume", "PUT", "/workers/w1/monitoring", {"paused": False}),
        ("workers stop w1", "DELETE", "/workers/w1/monitoring", None),
        ("workers stop w1 --cancel-running", "DELETE", "/workers/w1/monitoring?cancel_running=true", None),
        ("alerts list --worker w1 --json", "GET", "/alerts?worker_id=w1&limit=200", None),
        ("workers metrics w1 --json", "GET", "/workers/w1/metrics?limit=20", None),
        ("workers metrics w1 --limit 5000 --json", "GET", "/workers/w1/metrics?limit=5000", None),
        ("schedules show a/b?c#d", "GET", "/schedules/a%2Fb%3Fc%23d", None),
        ("schedules pause s1", "POST", "/schedules/s1/pause", {}),
        ("schedules pause s1 --reason move", "POST", "/schedules/s1/pause", {"reason": "move"}),
        ("schedules resume s1", "POST", "/schedules/s1/resume", None),
        ("schedules run s1", "POST", "/schedules/s1/run", None),
        ("schedules rm s1 --cancel-running", "DELETE", "/schedules/s1?cancel_running=true", None),
        (
            "schedules backfill s1 --since 2026-11-20T01:00:00+01:00 --until 2026-11-21T00:00:00Z",
            "POST",
            "/schedules/s1/backfill",
            {"since": "2026-11-20T00:00:00Z", "until": "2026-11-21T00:00:00Z"},
        ),
        (
            "schedules add Ledger --interval 30",
            "POST",
            "/schedules",
            {"name": "Ledger", "trigger": {"interval_s": 30.0}},
        ),
        (
            ADD_WITH_EVERYTHING,
            "POST",
            "/schedules",
            {
                "id": "l",
                "name": "Ledger",
                "data": {"label": "a"},
                "trigger": {"interval_s": 3600.0},
                "policy": {
                    "overlap": "queue_one",
                    "catch_up": "none",
                    "jitter_s": 120.0,
                    "timeout_s": 600.0,
                    "max_retries": 3,
                    "start": "2026-12-01T00:00:00Z",
                    "end": "2027-12-01T00:00:00Z",
                },
            },
        ),
    ],
)
def test_a_command_asks_for_what_it_says(command: str, method: str, path: str, body: object) -> None:
    with scripted(Reply({"items": []} if method == "GET" else {})) as server:
        found = roundsman(*command.split(), url=server.url)
    assert (found.status, found.err) == (0, "")
    (request,) = server.requests
    assert (request.method, request.path) == (method, f"/api/v1{path}")
    assert (request.json if request.body else None) == body


def test_a_cron_line_goes_with_its_timezone() -> None:
    with scripted(Reply({})) as server:
        roundsman("schedules", "add", "Report", "--cron", "0 2 * * 1", "--timezone", "Europe/Brussels", url=server.url)
        roundsman("workers", "monitor", "w1", "--cron", "*/5 * * * *", url=server.url)
    assert server.requests[0].json["trigger"] == {"cron": "0 2 * * 1", "timezone": "Europe/Brussels"}
    assert server.requests[1].json == {"cron": "*/5 * * * *"}


@pytest.mark.parametrize(
    ("command", "why"),
    [
        ("workers monitor w1 --interval 5 --cron x", "--interval and --cron: give one of them"),
        ("workers monitor w1 --interval 5x", "'5x' is not a duration"),
        ("workers monitor w1 --interval -5", "'-5' is not a duration"),
        ("workers monitor", "Missing argument 'ID'"),
        ("workers show ..", "'..' is no id"),
        ("workers list --limit 0", "--limit"),
        ("workers add Box", "Missing option '--provider'"),
        ("workers add Box --provider local --label team", "'team' is not NAME=VALUE"),
        ("workers metrics w1 --since never", "'never' is neither a time"),
        ("workers import", "No such command 'import'"),
        ("schedules add Ledger", "--interval and --cron: give one of them"),
        ("schedules add Ledger --interval 5 --cron x", "--interval and --cron: give one of them"),
        ("schedules add Ledger --interval 5 --timezone UTC", "--timezone: it belongs to --cron"),
        ("schedules add Ledger --interval 5 --data [1]", "it must be a JSON object"),
        ("schedules add Ledger --interval 5 --data {", "it is not JSON"),
        ("schedules add Ledger --interval 5 --data @/no/such/file", "cannot read it"),
        ("schedules add Ledger --interval 5 --end tomorrow", "'tomorrow' is no time"),
        ("schedules backfill s1", "--since: say from when on"),
        ("schedules backfill s1 --since 2026-11-20", "has no timezone"),
        ("run --role both", "'both' is not one of"),
        ("run --port 99999", "--port"),
        ("shedules list", "No such command 'shedules'. Did you mean 'schedules'?"),
        ("--timeout soon health", "'soon' is not a duration"),
    ],
)
def test_a_wrong_command_line_sends_nothing_and_says_why(command: str, why: str) -> None:
    with scripted(Reply({})) as server:
        found = roundsman(*command.split(), url=server.url)
    assert (found.status, found.out, server.requests) == (2, "", [])
    assert found.err.startswith("Error: ")
    assert why in found.err
    assert "Value error" not in found.err


def test_an_empty_id_is_refused_for_it_would_name_the_whole_list() -> None:
    with scripted(Reply({})) as server:
        found = roundsman("workers", "rm", "", url=server.url)
    assert (found.status, server.requests) == (2, [])


def test_data_comes_from_a_file_or_from_stdin(tmp_path: Path) -> None:
    (tmp_path / "data.json").write_text('{"label": "ä"}')
    with scripted(Reply({})) as server:
        roundsman("schedules", "add", "L", "--interval", "5", "--data", f"@{tmp_path / 'data.json'}", url=server.url)
        roundsman("schedules", "add", "L", "--interval", "5", "--data", "-", url=server.url, stdin='{"label": "b"}')
    assert [request.json["data"] for request in server.requests] == [{"label": "ä"}, {"label": "b"}]


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
        assert "When every 30 s" in lines
        assert any(line.startswith("Paused 2026-11-22 08:00:00Z (") and line.endswith("by ops, move") for line in lines)
        assert lines[lines.index("Running now s1@1.2") + 1] == "s1@1.3"
        assert "Policy overlap: skip" in lines

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


class BadSettings(RoundsmanError):
    """settings.toml has the key '{key}', which nothing knows. Did you mean 'port'?"""


class TestRunAndCheck:
    """The two commands that are the program's own."""

    @pytest.mark.parametrize("command", ["run", "check"])
    def test_they_hand_on_what_was_given(self, command: str) -> None:
        seen: list[dict[str, Any]] = []

        def keep(**given: Any) -> int:
            seen.append(given)
            return 0

        args = [command, "--role", "api", "--host", "::1", "--port", "0", "--data-dir", "d", "--config", "c.toml"]
        assert roundsman(*args, run=keep, check=keep).status == 0
        assert roundsman(command, run=keep, check=keep, env={"ROUNDSMAN_CONFIG": "e.toml"}).status == 0
        first, second = seen
        assert first == {"role": "api", "host": "::1", "port": 0, "data_dir": Path("d"), "config": Path("c.toml")}
        assert second == {"role": "all", "host": None, "port": None, "data_dir": None, "config": Path("e.toml")}

    @pytest.mark.parametrize("command", ["run", "check"])
    def test_what_they_return_is_the_exit_status(self, command: str) -> None:
        assert roundsman(command, run=lambda **_: 7, check=lambda **_: 7).status == 7

    @pytest.mark.parametrize("command", ["run", "check"])
    def test_what_they_raise_for_a_person_is_printed_without_a_traceback(self, command: str) -> None:
        def refuse(**_: Any) -> int:
            raise BadSettings(key="prot")

        found = roundsman(command, run=refuse, check=refuse)
        assert found.status == 1
        assert found.err == "Error: settings.toml has the key 'prot', which nothing knows. Did you mean 'port'?\n"

    def test_a_defect_keeps_its_traceback(self) -> None:
        def break_down(**_: Any) -> int:
            raise KeyError("a defect")

        with pytest.raises(KeyError, match="a defect"):
            roundsman("run", run=break_down)

    def test_an_interrupt_is_quiet(self) -> None:
        def interrupt(**_: Any) -> int:
            raise KeyboardInterrupt

        found = roundsman("run", run=interrupt)
        assert (found.status, found.out, found.err) == (130, "", "")


def test_every_command_has_help_with_an_example() -> None:
    groups = {
        "workers": ["list", "add", "show", "monitor", "stop", "rm", "metrics"],
        "schedules": ["list", "show", "add", "pause", "resume", "run", "rm", "runs", "backfill"],
        "alerts": ["list"],
    }
    commands = [["run"], ["check"], ["health"], *([group, name] for group, names in groups.items() for name in names)]
    for command in commands:
        found = roundsman(*command, "--help")
        assert found.status == 0
        assert f"  roundsman {' '.join(command)}" in found.out, command


def test_without_a_command_the_help_is_shown_as_wrong_usage() -> None:
    for command in ([], ["workers"], ["schedules"], ["alerts"]):
        found = roundsman(*command)
        assert (found.status, found.out) == (2, "")
        assert "Commands:" in found.err


def test_the_version_is_printed() -> None:
    found = roundsman("--version")
    assert found.status == 0
    assert found.out.startswith("roundsman ")
