"""What each command asks for, and what it refuses before it asks."""

import json
from pathlib import Path
from typing import Any

import pytest

from cli_support import Reply, roundsman, scripted
from domain.errors import RoundsmanError

ADD_WITH_EVERYTHING = (
    'schedules add Ledger --id l --data {"label":"a"} --interval 1h --overlap queue_one --catch-up none --jitter 2m '
    "--timeout 10m --max-retries 3 --start 2026-12-01T00:00:00Z --end 2027-12-01T00:00:00Z"
)


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
        ("workers import --region r --json", "POST", "/workers/import", {"provider": "aws", "region": "r"}),
        (
            (
                "workers import --region r --account a --tag t=web --tag o= --state running --instance-id i-1 --monitor"
                " --json"
            ),
            "POST",
            "/workers/import",
            {
                "provider": "aws",
                "account": "a",
                "region": "r",
                "filters": {"tags": {"t": "web", "o": ""}, "states": ["running"], "instance_ids": ["i-1"]},
                "monitor": True,
            },
        ),
        ("workers monitor w1", "PUT", "/workers/w1/monitoring", {}),
        ("workers monitor w1 --interval 2m", "PUT", "/workers/w1/monitoring", {"interval_s": 120.0}),
        ("workers monitor w1 --pause", "PUT", "/workers/w1/monitoring", {"paused": True}),
        ("workers monitor w1 --resume", "PUT", "/workers/w1/monitoring", {"paused": False}),
        ("workers stop w1", "DELETE", "/workers/w1/monitoring", None),
        ("workers stop w1 --cancel-running", "DELETE", "/workers/w1/monitoring?cancel_running=true", None),
        ("alerts list --worker w1 --json", "GET", "/alerts?worker=w1&limit=200", None),
        ("alerts list --rule r --severity s --json", "GET", "/alerts?rule=r&severity=s&limit=200", None),
        ("alerts show r@w@1", "GET", "/alerts/r@w@1", None),
        ("alerts ack r@w@1", "POST", "/alerts/r@w@1/ack", {}),
        (
            "alerts ack r@w@1 --note known --for 2h --severity critical",
            "POST",
            "/alerts/r@w@1/ack",
            {"note": "known", "for_s": 7200.0, "severity": "critical"},
        ),
        (
            "alerts ack r@w@1 --until 2026-11-22T09:00:00+01:00",
            "POST",
            "/alerts/r@w@1/ack",
            {"until": "2026-11-22T08:00:00Z"},
        ),
        ("alerts unack r@w@1", "DELETE", "/alerts/r@w@1/ack", None),
        (
            (
                "alerts silence --rule r --worker db-* --worker w1 --severity info --label a=b --label a=c --label d="
                " --for 1h --reason why"
            ),
            "POST",
            "/silences",
            {
                "matchers": {
                    "rule_ids": ["r"],
                    "worker_ids": ["db-*", "w1"],
                    "severities": ["info"],
                    "labels": {"a": ["b", "c"], "d": [""]},
                },
                "reason": "why",
                "for_s": 3600.0,
            },
        ),
        (
            "alerts silence --all --until 2026-11-22T08:00:00Z --start 2026-11-22T07:00:00Z --reason why",
            "POST",
            "/silences",
            {
                "matchers": {"worker_ids": ["*"]},
                "reason": "why",
                "ends_at": "2026-11-22T08:00:00Z",
                "starts_at": "2026-11-22T07:00:00Z",
            },
        ),
        ("alerts silences --state expired --json", "GET", "/silences?state=expired&limit=200", None),
        ("alerts unsilence silence-1", "DELETE", "/silences/silence-1", None),
        ("alerts rules list --limit 3 --json", "GET", "/alert-rules?limit=3", None),
        ("alerts rules show r", "GET", "/alert-rules/r", None),
        ("alerts rules rm r", "DELETE", "/alert-rules/r", None),
        (
            "alerts deliveries --channel c --alert a@w@1 --outcome sent --limit 3 --json",
            "GET",
            "/alerts/deliveries?channel=c&alert_id=a%40w%401&outcome=sent&limit=3",
            None,
        ),
        ("channels list --json", "GET", "/channels", None),
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


def test_a_calendar_or_a_whole_trigger_is_sent_as_it_is() -> None:
    calendar, both = {"months": 1, "day": 31}, {"both": [{"interval_s": 7200}, {"cron": "* * * * 1-5"}]}
    with scripted(Reply({"id": "r"}, 201), Reply({"id": "r"}, 201)) as server:
        add = ("schedules", "add", "Report")
        roundsman(*add, "--calendar", json.dumps(calendar), "--timezone", "Europe/Brussels", url=server.url)
        roundsman(*add, "--trigger", json.dumps(both), url=server.url)
    assert server.requests[0].json["trigger"] == {"calendar": calendar, "timezone": "Europe/Brussels"}
    assert server.requests[1].json["trigger"] == both


@pytest.mark.parametrize(
    ("command", "why"),
    [
        ("workers monitor w1 --interval 5 --cron x", "--interval and --cron: give one of them"),
        ("workers monitor w1 --interval 5x", "'5x' is not a duration"),
        ("workers monitor w1 --interval -5", "'-5' is not a duration"),
        ("workers monitor", "which workers: give ids"),
        ("workers show ..", "'..' is no id"),
        ("workers list --limit 0", "--limit"),
        ("workers add Box", "Missing option '--provider'"),
        ("workers add Box --provider local --label team", "'team' is not NAME=VALUE"),
        ("workers metrics w1 --since never", "'never' is neither a time"),
        ("workers import --tag team", "'team' is not NAME=VALUE"),
        ("schedules add Ledger", "--interval, --cron, --calendar and --trigger: give one of them"),
        ("schedules add Ledger --interval 5 --cron x", "--calendar and --trigger: give one of them"),
        ("schedules add Ledger --calendar {} --trigger {}", "--calendar and --trigger: give one of them"),
        ("schedules add Ledger --interval 5 --timezone UTC", "--timezone: it belongs to --cron or --calendar"),
        ("schedules add Ledger --trigger {} --timezone UTC", "--timezone: it belongs to --cron or --calendar"),
        ("schedules add Ledger --calendar monthly", "it is not JSON"),
        ("schedules add Ledger --trigger [1]", "it must be a JSON object"),
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
        "alerts": ["list", "show", "ack", "unack", "silence", "silences", "unsilence", "deliveries"],
        "alerts rules": ["list", "show", "put", "rm", "test"],
        "channels": ["list", "test"],
    }
    named = [[*group.split(), name] for group, names in groups.items() for name in names]
    commands = [["run"], ["check"], ["health"], *named]
    for command in commands:
        found = roundsman(*command, "--help")
        assert found.status == 0
        assert f"  roundsman {' '.join(command)}" in found.out, command


def test_without_a_command_the_help_is_shown_as_wrong_usage() -> None:
    for command in ([], ["workers"], ["schedules"], ["alerts"], ["channels"]):
        found = roundsman(*command)
        assert (found.status, found.out) == (2, "")
        assert "Commands:" in found.err


def test_the_version_is_printed() -> None:
    found = roundsman("--version")
    assert found.status == 0
    assert found.out.startswith("roundsman ")
