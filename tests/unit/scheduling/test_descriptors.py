"""What a descriptor and its policy take, and what they refuse."""

import math
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from domain.scheduling.descriptor import Descriptor, RecurrentTaskDescriptor, ScheduledTaskDescriptor
from domain.scheduling.policy import SchedulePolicy

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


def recurrent(**fields: Any) -> RecurrentTaskDescriptor:
    return RecurrentTaskDescriptor(**{"id": "s", "name": "Job", "interval": 30, **fields})


def refusal(make: Any, **fields: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        make(**fields)
    return str(caught.value)


@pytest.mark.parametrize("interval", [0.01, 1, 30, 366 * 86_400, "30"])
def test_intervals_from_a_hundredth_of_a_second_to_a_year(interval: Any) -> None:
    assert recurrent(interval=interval).interval == float(interval)


@pytest.mark.parametrize(
    ("interval", "why"),
    [
        (0, "greater than or equal to 0.01"),
        (-1, "greater than or equal to 0.01"),
        (0.009, "greater than or equal to 0.01"),
        (math.nan, "finite number"),
        (math.inf, "finite number"),
        (366 * 86_400 + 1, "less than or equal to"),
        ("soon", "valid number"),
        (10**400, "valid number"),
        ([], "valid number"),
    ],
)
def test_other_intervals_are_refused(interval: Any, why: str) -> None:
    said = refusal(recurrent, interval=interval)
    assert "interval" in said
    assert why in said


def test_a_schedule_has_one_trigger() -> None:
    assert "give one trigger: interval (seconds), cron, calendar, either or both" in refusal(recurrent, interval=None)
    assert "either interval (seconds) or cron" in refusal(recurrent, interval=30, cron="* * * * *")
    assert recurrent(interval=None, cron="* * * * *").cron == "* * * * *"
    assert "at most 200" in refusal(recurrent, interval=None, cron="0," * 200)


@pytest.mark.parametrize("name", ["UTC", "Europe/Berlin", "America/Argentina/Buenos_Aires", "Etc/GMT+5", "EST5EDT"])
def test_timezones_are_iana_names(name: str) -> None:
    assert recurrent(timezone=name).timezone == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        " ",
        "Mars/Phobos",
        "Berlin",
        "+02:00",
        "UTC+2",
        "europe/berlin",
        "Europe",
        "Europe/",
        ".",
        "..",
        "../x",
        "/etc/passwd",
        "Europe/../Europe/Berlin",
        "UTC\x00",
        "UTC\n",
        "x" * 90,
        "zone.tab",
        "tzdata.zi",
        "__init__.py",
    ],
)
def test_a_timezone_that_does_not_exist_is_refused_by_its_name(name: str) -> None:
    assert f"there is no timezone {name!r}; use an IANA name" in refusal(recurrent, timezone=name)


@pytest.mark.parametrize("name", ["localtime", "posixrules", "right/Europe/Berlin", "posix/UTC", "Factory"])
def test_timezones_that_every_machine_has_in_its_own_way_are_refused(name: str) -> None:
    assert "there is no timezone" in refusal(recurrent, timezone=name)


@pytest.mark.parametrize("name", ["x" * 5000, "\ud800", 5, None, ["UTC"]])
def test_a_timezone_is_a_short_text(name: Any) -> None:
    said = refusal(recurrent, timezone=name)
    assert "timezone" in said
    assert "x" * 200 not in said


@pytest.mark.parametrize("identifier", ["a", "7", "worker-metrics-w1", "a.b_c:d-E", "x" * 200])
def test_ids_are_plain(identifier: str) -> None:
    assert recurrent(id=identifier).id == identifier


@pytest.mark.parametrize(
    "identifier",
    ["", " ", "-a", ".a", ":a", "a b", "a@b", "a/b", "a{b}", "a\n", "a\x00", "ä", "a*", "x" * 201, 5, None],
)
def test_other_ids_are_refused(identifier: Any) -> None:
    assert "id" in refusal(recurrent, id=identifier)


def test_an_id_is_made_where_none_is_given() -> None:
    first, second = (ScheduledTaskDescriptor(name="Job") for _ in range(2))
    assert first.id != second.id
    assert ScheduledTaskDescriptor(id=first.id, name="Job").id == first.id


@pytest.mark.parametrize("name", ["", "x" * 201, None, 5])
def test_a_name_is_a_text_of_some_length(name: Any) -> None:
    assert "name" in refusal(recurrent, name=name)


@pytest.mark.parametrize("data", [None, [], "a", 5, {1: "a"}])
def test_data_is_an_object(data: Any) -> None:
    assert "data" in refusal(recurrent, data=data)


@pytest.mark.parametrize("version", [0, -1, 1.5, "x"])
def test_a_version_is_a_whole_number_from_one(version: Any) -> None:
    assert "version" in refusal(recurrent, version=version)


@pytest.mark.parametrize("field", ["intervall", "trigger", "scheduled_at", "jitter_s"])
def test_a_misspelt_field_is_named(field: str) -> None:
    said = refusal(recurrent, **{field: 1})
    assert field in said
    assert "Extra inputs are not permitted" in said


def test_a_descriptor_does_not_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        recurrent().interval = 5


NAIVE = [datetime(2026, 11, 22, 8), "2026-11-22T08:00:00"]  # noqa: DTZ001 - the mistake


@pytest.mark.parametrize("moment", NAIVE)
def test_naive_times_are_refused_and_shown_how_to_be_written(moment: Any) -> None:
    for said in (
        refusal(ScheduledTaskDescriptor, name="Job", scheduled_at=moment),
        refusal(SchedulePolicy, start=moment),
        refusal(SchedulePolicy, end=moment),
    ):
        assert "the time has no timezone; add one, for example '2026-11-22T08:00:00Z'" in said


def test_times_are_moved_to_utc_in_whole_milliseconds() -> None:
    berlin = timezone(timedelta(hours=1))
    given = datetime(2026, 11, 22, 8, 0, 0, 123_999, tzinfo=berlin)
    at = ScheduledTaskDescriptor(name="Job", scheduled_at=given).scheduled_at
    assert at == datetime(2026, 11, 22, 7, 0, 0, 123_000, tzinfo=UTC)
    assert at is not None
    assert at.tzinfo is UTC


@pytest.mark.parametrize(
    "moment", ["9999-12-31T23:59:59-12:00", "9999-06-01T00:00:00Z", "0001-01-01T00:00:00+12:00", "soon", 1e300, {}]
)
def test_times_out_of_this_world_are_refused(moment: Any) -> None:
    assert "scheduled_at" in refusal(ScheduledTaskDescriptor, name="Job", scheduled_at=moment)


def test_a_one_shot_is_due_now_or_when_it_says() -> None:
    assert ScheduledTaskDescriptor(name="Job").due(NOON) == NOON
    assert ScheduledTaskDescriptor(name="Job", scheduled_at=NOON + timedelta(1)).due(NOON) == NOON + timedelta(1)


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_retries": -1},
        {"max_retries": 1001},
        {"timeout_s": 0},
        {"timeout_s": math.nan},
        {"timeout_s": math.inf},
        {"timeout_s": 366 * 86_400 + 1},
        {"correlation_id": "x" * 201},
    ],
)
def test_a_one_shots_limits_are_held(wrong: dict[str, Any]) -> None:
    assert next(iter(wrong)) in refusal(ScheduledTaskDescriptor, name="Job", **wrong)


@pytest.mark.parametrize(
    ("overlap", "mode", "limit"),
    [("skip", "skip", 1), ("queue_one", "queue_one", 1), ("allow(1)", "allow", 1), ("allow(999)", "allow", 999)],
)
def test_overlap_policies(overlap: str, mode: str, limit: int) -> None:
    policy = SchedulePolicy(overlap=overlap)
    assert (policy.overlap_mode, policy.overlap_limit) == (mode, limit)


@pytest.mark.parametrize(
    ("catch_up", "limit"), [("one", 1), ("none", 0), ("all(1)", 1), ("all(12)", 12), ("all(999)", 999)]
)
def test_catch_up_policies(catch_up: str, limit: int) -> None:
    assert SchedulePolicy(catch_up=catch_up).catch_up_limit == limit


WORDS = [
    "",
    "Skip",
    "skip ",
    "skip\n",
    "allow",
    "allow()",
    "allow(0)",
    "allow(01)",
    "allow(1000)",
    "allow(-1)",
    "all",
    5,
]


@pytest.mark.parametrize("word", [*WORDS, "all(1)", "one"])
def test_other_overlap_words_are_refused(word: Any) -> None:
    assert "overlap" in refusal(SchedulePolicy, overlap=word)


@pytest.mark.parametrize("word", [*WORDS, "all(0)", "all(1000)", "all(1", "skip", None])
def test_other_catch_up_words_are_refused(word: Any) -> None:
    assert "catch_up" in refusal(SchedulePolicy, catch_up=word)


@pytest.mark.parametrize(
    "wrong",
    [
        {"jitter_s": -0.1},
        {"jitter_s": math.nan},
        {"jitter_s": math.inf},
        {"jitter_s": 86_401},
        {"max_retries": -1},
        {"timeout_s": 0},
        {"timeout_s": math.nan},
        {"overlaps": "skip"},
    ],
)
def test_a_policys_limits_are_held(wrong: dict[str, Any]) -> None:
    assert next(iter(wrong)) in refusal(SchedulePolicy, **wrong)


def test_an_end_comes_after_its_start() -> None:
    for end in (NOON, NOON - timedelta(seconds=1)):
        assert "must come after start" in refusal(SchedulePolicy, start=NOON, end=end)
    assert SchedulePolicy(start=NOON, end=NOON + timedelta(seconds=1)).end


@pytest.mark.parametrize(
    "descriptor",
    [
        recurrent(data={"a": [1, None, {"b": "ü"}]}, version=2),
        recurrent(
            interval=None,
            cron="0 2 * * *",
            timezone="Europe/Berlin",
            policy=SchedulePolicy(overlap="allow(3)", catch_up="all(5)", jitter_s=1.5, start=NOON, timeout_s=9),
        ),
        ScheduledTaskDescriptor(id="o", name="Job", scheduled_at=NOON, max_retries=3, correlation_id="c"),
        ScheduledTaskDescriptor(id="o", name="Job"),
    ],
)
def test_a_descriptor_comes_back_from_json_as_it_was(descriptor: Any) -> None:
    assert TypeAdapter(Descriptor).validate_json(descriptor.model_dump_json()) == descriptor
