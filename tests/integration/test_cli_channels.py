"""The commands of channels and deliveries: what they ask for, and what they print."""

from typing import Any

from cli_support import Reply, roundsman, scripted
from infrastructure.cli.completion import channel_names
from infrastructure.web.channels import CHANNEL, TESTED
from infrastructure.web.deliveries import DELIVERY


def page(*items: Any) -> Reply:
    return Reply({"items": list(items), "next_cursor": None})


FINE = {
    **CHANNEL,
    "name": "log",
    "type": "log",
    "state": "closed",
    "why": "",
    "severities": [],
    "match": {},
    "waiting": 0,
}


def test_channels_are_listed_with_what_ails_them() -> None:
    given_up = {**FINE, "name": "mail", "last_given_up": "it answered 400"}
    failing = {**FINE, "name": "chat", "why": "it answered 503"}
    with scripted(page(FINE, CHANNEL, given_up, failing)) as server:
        found = roundsman("channels", "list", url=server.url)
    lines = [" ".join(line.split()) for line in found.out.splitlines()]
    assert "log log https://hooks.example.com/… all ok -" in lines[1]
    assert "critical; label:team=db open: it answered 502 3 (1 min 2 s)" in lines[2]
    assert "gave up: it answered 400" in lines[3]
    assert "failing: it answered 503" in lines[4]


def test_a_test_tells_whether_it_arrived() -> None:
    with scripted(Reply(TESTED)) as server:
        found = roundsman("channels", "test", "on-call", url=server.url)
        assert server.requests[0].path == "/api/v1/channels/on-call/test"
    assert (found.status, found.out) == (0, "The test arrived on on-call. It answered: ok\n")


def test_a_test_that_did_not_arrive_is_a_failure_that_says_why() -> None:
    lost = {**TESTED, "outcome": "given_up", "status": 404, "why": "it answered 404", "answer": "no such hook"}
    with scripted(Reply(lost), Reply(lost)) as server:
        found = roundsman("channels", "test", "on-call", url=server.url)
        as_json = roundsman("channels", "test", "on-call", "--json", url=server.url)
    assert (found.status, found.out) == (1, "")
    assert "The test did not arrive on the channel 'on-call': it answered 404 (no such hook)." in found.err
    assert (as_json.status, as_json.json["outcome"]) == (1, "given_up")
    assert as_json.problem["type"] == "urn:roundsman:cli:test-not-delivered"


def test_a_name_that_would_be_another_path_is_refused() -> None:
    assert roundsman("channels", "test", "..").status == 2


def test_deliveries_are_listed_with_why_they_failed() -> None:
    arrived = {**DELIVERY, "outcome": "sent", "why": "", "status": 200, "answer": "ok"}
    with scripted(page(DELIVERY, arrived)) as server:
        found = roundsman("alerts", "deliveries", "--outcome", "retrying", url=server.url)
        assert server.requests[0].path == "/api/v1/alerts/deliveries?outcome=retrying&limit=100"
    lines = [" ".join(line.split()) for line in found.out.splitlines()]
    assert "on-call retrying 2 [FIRING] critical: high-cpu on build-7 it answered 502 (Bad Gateway)" in lines[1]
    assert lines[2].endswith("200 ok")


def test_names_of_channels_are_completed_or_nothing_is() -> None:
    import click

    with scripted(page(FINE, CHANNEL)) as server:
        root = click.Context(click.Command("roundsman"))
        root.params["url"] = server.url
        assert channel_names(root, "on") == ["on-call"]
    assert channel_names(root, "on") == []
