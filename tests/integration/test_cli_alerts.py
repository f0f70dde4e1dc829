"""Alerts, silences and rules on the command line: what is printed, and the whole way through the real program."""

import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from cli_program import Program
from cli_support import Reply, problem, roundsman, scripted
from infrastructure.cli.completion import alert_ids, rule_ids, silence_ids
from infrastructure.redis.embedded import EmbeddedValkey
from infrastructure.web.alert_rule_views import MESSAGE, RULE
from infrastructure.web.examples import ALERT
from infrastructure.web.silences import SILENCE
from support import wait_until_sync

KEYS = {"viewer": "viewer-key-0123456789", "operator": "operator-key-0123456789", "admin": "admin-key-0123456789"}


@pytest.fixture(scope="module")
def program(valkey: EmbeddedValkey, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """One program for all tests of this file; each uses ids of its own. It watches nothing by itself."""
    settings = {"ROUNDSMAN_MONITORING__LOCAL_WORKER": "false"}
    with Program(tmp_path_factory.mktemp("alerts"), valkey.url, f"cli{uuid.uuid4().hex[:8]}", **settings) as started:
        yield started


def page(*items: Any) -> Reply:
    return Reply({"items": list(items), "next_cursor": None})


def words(text: str) -> list[str]:
    return [" ".join(line.split()) for line in text.splitlines()]


def test_an_alert_fires_is_acknowledged_silenced_and_over(program: Program, tmp_path: Path) -> None:
    program("workers", "add", "Box", "--provider", "local", "--id", "burning")
    program("workers", "monitor", "burning", "--interval", "50ms")
    wait_until_sync(lambda: program.json("workers", "metrics", "burning")["items"], "a first sample")
    rule = tmp_path / "rule.toml"
    rule.write_text('id = "too-many"\nmetric = "process_count"\nfire = 0\nrepeat_s = 3600\n')
    tried = program("alerts", "rules", "test", str(rule), "--worker", "burning", "--since", "1h")
    assert "firing warning too-many on burning: process_count" in words(tried.out)[1]
    assert "samples of burning, 20" in tried.out
    assert program("alerts", "list", "--rule", "too-many").err == "No alerts.\n", "nobody was told"
    assert program("alerts", "rules", "put", str(rule)).out == "too-many is new.\n"
    assert program("alerts", "rules", "put", str(rule)).out == "too-many is as the file says.\n"

    def firing() -> list[Any]:
        found: list[Any] = program.json("alerts", "list", "--rule", "too-many", "--state", "firing")["items"]
        return found

    (alert,) = wait_until_sync(firing, "the rule to fire")
    acked = program("alerts", "ack", alert["id"], "--note", "a test", "--for", "30m")
    assert acked.out.startswith(f"{alert['id']} is acknowledged by ")
    shown = words(program("alerts", "show", alert["id"]).out)
    assert "Note a test" in shown
    assert any(line.startswith("Quiet acknowledged by ") for line in shown)
    assert program("alerts", "unack", alert["id"]).out == f"{alert['id']} is not acknowledged.\n"
    made = program.json("alerts", "silence", "--rule", "too-*", "--for", "1h", "--reason", "a test")
    assert made["id"] in program("alerts", "silences").out
    wait_until_sync(lambda: firing()[0]["silenced_until"] == made["ends_at"], "the silence to be seen")
    assert program("alerts", "unsilence", made["id"]).out == f"{made['id']} has ended.\n"
    assert program("alerts", "silences").err == "No silences.\n"

    removed = program("alerts", "rules", "rm", "too-many")
    assert removed.out == "too-many is removed. Its open alerts are resolved.\n"
    wait_until_sync(lambda: not firing(), "the alert to be closed")
    late = program("alerts", "ack", alert["id"])
    assert (late.status, late.out) == (4, "")
    assert "it ended at" in late.err
    program("workers", "rm", "burning")


def test_rules_go_out_as_json_and_come_back_changed(program: Program) -> None:
    read = program.json("alerts", "rules", "show", "high-cpu")
    copied = program("alerts", "rules", "put", "-", "--id", "cpu-copy", stdin=json.dumps({**read, "fire": 0.95}))
    assert copied.out == "cpu-copy is new.\n"
    mine = program.json("alerts", "rules", "show", "cpu-copy")
    changed = program("alerts", "rules", "put", "-", "--json", stdin=json.dumps({**mine, "for_s": 5}))
    assert (changed.json["revision"], changed.json["for_s"]) == (2, 5)
    stale = program("alerts", "rules", "put", "-", stdin=json.dumps({**mine, "for_s": 6}))
    assert (stale.status, stale.err.startswith("Error: The alert rule 'cpu-copy' is not the one")) == (4, True)
    listed = words(program("alerts", "rules", "list").out)
    assert any(
        line.startswith("cpu-copy warning cpu_utilization > 0.95, clear at 0.8 for 5 s all - store") for line in listed
    )
    assert any(line.startswith("high-cpu ") and " settings" in line for line in listed)
    fixed = program("alerts", "rules", "put", "-", stdin=json.dumps(read))
    assert fixed.status == 4
    assert "Change it in settings.toml" in fixed.err
    program("alerts", "rules", "rm", "cpu-copy")


def test_a_file_of_rules_as_the_settings_have_them_is_put_up_to_the_first_that_is_refused(
    program: Program, tmp_path: Path
) -> None:
    file = tmp_path / "rules.toml"
    good = '[[alerts.rules]]\nid = "one"\nmetric = "load_1m"\nfire = 9\n'
    file.write_text(good + '[[alerts.rules]]\nid = "two"\nmetric = "laod_1m"\nfire = 2\nclear = 3\n')
    found = program("alerts", "rules", "put", str(file))
    assert (found.status, found.out) == (4, "one is new.\n")
    assert "metric: there is no 'laod_1m'" in found.err
    assert "clear: 3 must not be above fire (2)" in found.err
    assert program("alerts", "rules", "show", "two").status == 3
    file.write_text(good.replace("one", "two") + good.replace("one", "three"))
    assert program("alerts", "rules", "put", str(file)).out == "two is new.\nthree is new.\n"
    both = program.json("alerts", "rules", "put", str(file))
    assert [one["id"] for one in both["items"]] == ["two", "three"]
    for name in ("one", "two", "three"):
        program("alerts", "rules", "rm", name)


UNKNOWN = [
    ("show", "r@w@1"),
    ("ack", "r@w@1"),
    ("unack", "r@w@1"),
    ("unsilence", "silence-none"),
    ("rules", "show", "none"),
    ("rules", "rm", "none"),
]


@pytest.mark.parametrize("command", UNKNOWN)
def test_what_is_not_there_ends_with_its_own_status(program: Program, command: tuple[str, ...]) -> None:
    found = program("alerts", *command)
    assert (found.status, found.out) == (3, "")
    assert found.err.startswith("Error: There is no ")


REFUSED = [
    (("list", "--severity", "bad"), "query.severity"),
    (("silence", "--worker", "w1", "--for", "400d", "--reason", "x"), "for_s"),
    (("silence", "--worker", "a b", "--for", "1h", "--reason", "x"), "worker_ids"),
    (("silence", "--all", "--until", "2020-01-01T00:00:00Z", "--reason", "x"), "it is past already"),
    (("silence", "--all", "--for", "1h", "--reason", " "), "reason"),
    (("rules", "show", "no good"), "path.id"),
]


@pytest.mark.parametrize(("command", "said"), REFUSED)
def test_what_the_program_refuses_is_said_by_field(program: Program, command: tuple[str, ...], said: str) -> None:
    found = program("alerts", *command)
    assert (found.status, found.out) == (4, "")
    assert said in found.err


WRONG = [
    (
        ("silence", "--reason", "x", "--for", "1h"),
        "",
        "say it by --rule, --worker, --severity or --label, or say --all",
    ),
    (("silence", "--reason", "x", "--for", "1h", "--all", "--worker", "w1"), "", "or say --all without them"),
    (("silence", "--reason", "x", "--all"), "", "--for and --until: give one of them"),
    (("silence", "--reason", "x", "--all", "--for", "1h", "--until", "2099-01-01T00:00:00Z"), "", "give one of them"),
    (("silence", "--all", "--for", "1h"), "", "--reason"),
    (("silence", "--all", "--for", "soon", "--reason", "x"), "", "is not a duration"),
    (("ack", "r@w@1", "--until", "2026-11-22"), "", "no timezone"),
    (("ack", ".."), "", "is no id"),
    (("rules", "put", "no-such-file.toml"), "", "no-such-file.toml: it cannot be read: No such file or directory"),
    (("rules", "put", "-"), "this = is = nothing", "stdin: it is neither JSON ("),
    (("rules", "put", "-"), "", "it has no alert rule"),
    (("rules", "put", "-"), "[]", "it has no alert rule"),
    (("rules", "put", "-"), '["a"]', "it has no alert rule"),
    (("rules", "put", "-"), '{"metric": "load_1m"}', "it has no id; name it in the file, or with --id"),
    (("rules", "put", "-"), '{"id": 7}', "it has no id"),
    (("rules", "put", "-", "--id", "x"), '[{"id": "a"}, {"id": "b"}]', "the file has 2 rules, and only one can have"),
    (("rules", "test", "-", "--worker", "w"), '[{"id": "a"}, {"id": "b"}]', "one is tried at a time"),
    (("rules", "test", "-"), "{}", "--worker"),
]


@pytest.mark.parametrize(("command", "stdin", "said"), WRONG)
def test_a_command_that_makes_no_sense_is_wrong_usage(command: tuple[str, ...], stdin: str, said: str) -> None:
    found = roundsman("alerts", *command, stdin=stdin)
    assert (found.status, found.out) == (2, "")
    assert said in " ".join(found.err.split())


@pytest.mark.parametrize(("ending", "said"), [("toml", "it is not TOML: "), ("json", "it is not JSON: ")])
def test_what_is_wrong_with_a_file_is_said_of_what_it_says_to_be(tmp_path: Path, ending: str, said: str) -> None:
    file = tmp_path / f"rule.{ending}"
    file.write_text("{'id': 1")
    found = roundsman("alerts", "rules", "put", str(file))
    assert (found.status, f"rule.{ending}: {said}" in found.err) == (2, True)


def test_a_rule_of_toml_with_a_time_in_it_is_refused_by_the_program(program: Program) -> None:
    found = program("alerts", "rules", "put", "-", stdin='id = "x"\nmetric = "load_1m"\nfire = 2026-11-22\n')
    assert (found.status, "fire" in found.err) == (4, True)


def test_alerts_are_listed_with_what_keeps_them_quiet() -> None:
    plain = {**ALERT, "ack": None}
    hidden = {**plain, "hidden_by": "no-data"}
    silenced = {**plain, "silenced_until": "2026-11-22T10:00:00Z"}
    with scripted(page(ALERT, plain, hidden, silenced)) as server:
        lines = words(roundsman("alerts", "list", url=server.url).out)
    assert lines[0].endswith("QUIET SUMMARY ID")
    assert "acknowledged by ann until 2026-11-22 12:02:00Z" in lines[1]
    assert "(" in lines[2]
    assert " - high-cpu on Build machine 7" in lines[2]
    assert "hidden by no-data" in lines[3]
    assert "silenced until 2026-11-22 10:00:00Z" in lines[4]
    assert all(line.endswith(ALERT["id"]) for line in lines[1:])


KINDS = [
    ({"metric": "no_data"}, "no sample for 3 intervals"),
    ({"metric": "status", "statuses": ["stopped"], "checks": ["system"]}, "stopped or check system for 1 min"),
    ({"metric": "provider_down", "for_s": 0}, "no worker of a region can be looked at"),
    ({"clear": None, "for_s": 0}, "memory_utilization > 0.8"),
]


@pytest.mark.parametrize(("facts", "said"), KINDS)
def test_a_rule_of_each_kind_is_shown_in_words(facts: dict[str, Any], said: str) -> None:
    with scripted(Reply({**RULE, **facts})) as server:
        lines = words(roundsman("alerts", "rules", "show", "db-memory", url=server.url).out)
    assert f"When {said}" in lines
    assert "Worse critical at 0.95" in lines
    assert "Repeats 4 h" in lines
    assert "Workers role=db" in lines
    assert "From store" in lines


def test_silences_are_listed_with_what_they_are_about() -> None:
    labels = {"role": ["db", "web"], "env": "prod"}
    about = {"rule_ids": ["cpu*"], "worker_ids": ["w1", "w2"], "severities": ["info"], "labels": labels}
    with scripted(page({**SILENCE, "matchers": about})) as server:
        (_, line) = words(roundsman("alerts", "silences", url=server.url).out)
    assert "rule cpu*; worker w1 or w2; severity info; role=db|web; env=prod" in line


def test_a_try_says_when_there_is_nothing_to_say() -> None:
    played = {"worker_id": "w1", "is_about_worker": True, "samples": 0, "messages": [], "state": "ok", "pending": 0}
    cut = {**played, "samples": 5, "messages": [MESSAGE], "is_cut": True, "pending": 2}
    with scripted(Reply(played), Reply({**played, "is_about_worker": False}), Reply(cut)) as server:
        call = ("alerts", "rules", "test", "-", "--worker", "w1")
        none, other, much = (roundsman(*call, url=server.url, stdin=json.dumps(RULE)) for _ in range(3))
        assert server.requests[0].json == {"rule": RULE, "worker_id": "w1"}
    assert (none.out, none.err) == ("There are no samples of w1 in that time.\n", "It would have told nothing.\n")
    assert other.out == "The rule is not about w1: its labels do not select it.\n"
    assert "It waited for 'for_s' 2 times." in much.out
    assert much.out.endswith("It tells too much; the rest was not tried.\n")


def test_under_another_id_a_rule_has_no_revision() -> None:
    with scripted(Reply(RULE, status=201)) as server:
        roundsman("alerts", "rules", "put", "-", "--id", "new", url=server.url, stdin=json.dumps(RULE))
        roundsman("alerts", "rules", "put", "-", url=server.url, stdin=json.dumps(RULE))
        first, second = server.requests
    assert (first.path, first.json.get("revision")) == ("/api/v1/alert-rules/new", None)
    assert (second.path, second.json["revision"]) == ("/api/v1/alert-rules/db-memory", 2)


def test_a_program_that_is_away_or_refuses_is_told_by_the_status() -> None:
    with scripted(problem(403, "Not allowed.")) as server:
        assert roundsman("alerts", "unack", "r@w@1", url=server.url).status == 4
        url = server.url
    assert roundsman("alerts", "silences", url=url).status == 5


def test_ids_are_completed_or_nothing_is() -> None:
    with scripted(page({"id": "high-cpu@w1@1"}, {"id": "other@w1@1"})) as server:
        root = click.Context(click.Command("roundsman"))
        root.params["url"] = server.url
        for complete in (alert_ids, silence_ids):
            assert complete(root, "high") == ["high-cpu@w1@1"]  # type: ignore[arg-type] # typer's context is click's
        assert rule_ids(root, "") == ["high-cpu@w1@1", "other@w1@1"]  # type: ignore[arg-type] # the same
    for complete in (alert_ids, rule_ids, silence_ids):
        assert complete(root, "high") == []  # type: ignore[arg-type] # the same
