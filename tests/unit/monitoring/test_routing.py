"""Which channel takes what, what goes together, and how it reads."""

from datetime import timedelta

import pytest
from pydantic import ValidationError

from domain.monitoring.message import make_message, make_test_message
from domain.monitoring.routing import EVERYTHING, Grouping, Route, Routing, check_facet
from unit.monitoring.messages import AT, notification

ONE = notification(severity="critical", provider="aws", region="eu-central-1", labels={"team": "db", "odd": "a@b c"})


@pytest.mark.parametrize(
    ("route", "takes"),
    [
        (Route(), True),
        (Route(("critical", "info")), True),
        (Route(("warning",)), False),
        (Route((), {"rule": "c*", "worker": "w?"}), True),
        (Route((), {"rule": "c*", "worker": "x?"}), False),
        (Route((), {"label:team": "db", "region": "eu-*", "provider": "aws", "metric": "cpu_*"}), True),
        (Route((), {"label:team": "DB"}), False),
        (Route((), {"label:absent": "?*"}), False),
        (Route((), {"label:absent": ""}), True),
        (Route(("critical",), {"severity": "critical"}), True),
    ],
)
def test_a_channel_takes_what_fits_all_that_it_says(route: Route, takes: bool) -> None:
    assert route.takes(ONE) is takes


@pytest.mark.parametrize(
    ("by", "key"),
    [
        (("rule", "worker"), "cpu@w1"),
        (("severity",), "critical"),
        (("label:team", "region"), "db@eu-central-1"),
        (("label:odd", "rule"), "a%40b%20c@cpu"),
        (("label:absent",), EVERYTHING),
        ((), EVERYTHING),
    ],
)
def test_a_group_is_named_by_what_is_shared(by: tuple[str, ...], key: str) -> None:
    assert Grouping(by).key(ONE) == key


def test_groups_that_differ_have_names_that_differ() -> None:
    grouping = Grouping(("label:a", "label:b"))
    first = notification(labels={"a": "x@y", "b": "z"})
    second = notification(labels={"a": "x", "b": "y@z"})
    assert grouping.key(first) != grouping.key(second)


def test_lanes_are_those_of_the_channels_that_take_it() -> None:
    routing = Routing({"all": Route(), "pager": Route(("critical",)), "other": Route(("info",))}, Grouping(("worker",)))
    assert routing.lanes(ONE) == {"all": "w1", "pager": "w1"}


@pytest.mark.parametrize("name", ["", "workers", "label:", "label:a b", "Rule", "kind"])
def test_a_side_that_there_is_not_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="use one of rule, worker, severity"):
        check_facet(name)


def test_the_key_of_a_message_is_that_of_all_that_is_in_it() -> None:
    first, second = notification(), notification("resolved", at=AT + timedelta(seconds=9))
    key = make_message("log", "g", [first, second]).key
    assert make_message("log", "g", [first, second]).key == key
    others = [
        make_message("log", "g", [first]),
        make_message("log", "g", [second, first]),
        make_message("chat", "g", [first, second]),
        make_message("log", "g", [first, notification("resolved")]),
    ]
    assert len({key, *(one.key for one in others)}) == 5
    assert key.startswith("msg_")
    assert len(key) == 36


def test_a_message_of_one_reads_like_an_alert_and_one_of_many_like_a_list() -> None:
    one = make_message("log", "cpu@w1", [ONE])
    assert one.title == "[FIRING] critical: cpu on w1"
    assert one.text == "cpu on w1: cpu_utilization 95.0 % (> 0.9)"
    many = make_message("log", "all", [ONE, notification("resolved", "w2"), notification("firing", "w3")])
    assert many.title == "[FIRING 2, RESOLVED 1] all"
    assert many.text.splitlines()[1] == "RESOLVED [warning] cpu on w2: cpu_utilization 95.0 % (> 0.9)"
    lots = make_message("log", "all", [notification(worker_id=f"w{number}") for number in range(25)])
    assert len(lots.text.splitlines()) == 21
    assert lots.text.endswith("and 5 more")


def test_a_test_message_says_that_it_is_one() -> None:
    made = make_test_message("chat", "msg_test_1", "ann")
    assert made.is_test
    assert "ann asked for it; nothing is wrong" in made.text


def test_a_notification_without_what_routes_ask_for_is_read_as_before() -> None:
    old = notification().model_dump(exclude={"labels", "provider", "region", "not_before"})
    assert notification().model_validate(old) == notification()
    with pytest.raises(ValidationError):
        notification(labels="db")
