"""Durations and moments that people type and read."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infrastructure.cli.times import (
    describe_distance,
    describe_duration,
    describe_moment,
    exact,
    parse_duration,
    parse_moment,
    parse_time,
    read_moment,
)

NOW = datetime(2026, 11, 22, 8, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("5", 5.0),
        ("5s", 5.0),
        ("0.5", 0.5),
        ("250ms", 0.25),
        ("2m", 120.0),
        ("1h", 3600.0),
        ("1h30m", 5400.0),
        ("7d", 604_800.0),
        (" 2M ", 120.0),
        ("1m30.5s", 90.5),
        ("0", 0.0),
    ],
)
def test_a_duration_is_read(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text", ["", " ", "s", "-5", "+5", "5x", "5 s", "1h 30m", "nan", "inf", "1e3", "5ss", "٥", "5.", ".5", "5s5", "0x5"]
)
def test_what_is_no_duration_is_refused_and_shown(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration; write 5 or 5s"):
        parse_duration(text)


def test_a_duration_beyond_all_reason_is_refused() -> None:
    with pytest.raises(ValueError, match="longer than a thousand years"):
        parse_duration("9" * 400 + "d")


@given(st.floats(min_value=0.01, max_value=1e6))
def test_a_plain_number_means_seconds(seconds: float) -> None:
    assert parse_duration(f"{seconds:.3f}") == pytest.approx(seconds, abs=0.001)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-11-22T08:00:00Z", "2026-11-22T08:00:00Z"),
        ("2026-11-22T09:00:00+01:00", "2026-11-22T08:00:00Z"),
        ("2026-11-22 08:00:00.5+00:00", "2026-11-22T08:00:00.500000Z"),
    ],
)
def test_a_time_is_read_and_moved_to_utc(text: str, moment: str) -> None:
    assert parse_time(text) == moment
    assert parse_moment(text) == moment


def test_a_duration_counts_back_from_now() -> None:
    before = datetime.now(UTC)
    moment = read_moment(parse_moment("15m"))
    assert moment is not None
    assert before - timedelta(minutes=15) <= moment <= datetime.now(UTC) - timedelta(minutes=15)


@pytest.mark.parametrize("text", ["2026-11-22T08:00:00", "2026-11-22", "2026-11-22 08:00"])
def test_a_naive_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="has no timezone; add one"):
        parse_moment(text)


@pytest.mark.parametrize("text", ["yesterday", "12:00", "", "-15m", "999999d"])
def test_what_is_no_moment_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"neither a time .* nor a duration back from now"):
        parse_moment(text)


@pytest.mark.parametrize("text", ["2026-13-01T00:00:00Z", "2026-02-30T00:00:00Z", "Tuesday", "", "15m"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no time; write one such as"):
        parse_time(text)


def test_a_time_beyond_the_calendar_is_refused() -> None:
    with pytest.raises(ValueError, match="beyond the calendar"):
        parse_moment("0001-01-01T00:00:00+14:00")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (0.25, "250 ms"),
        (4, "4 s"),
        (59, "59 s"),
        (60, "1 min"),
        (90, "1 min 30 s"),
        (3600, "1 h"),
        (5400, "1 h 30 min"),
        (3601, "1 h"),
        (90_000, "1 d 1 h"),
        (59.96, "1 min"),
    ],
)
def test_a_duration_is_told_in_its_two_largest_units(seconds: float, text: str) -> None:
    assert describe_duration(seconds) == text


@pytest.mark.parametrize(
    ("offset_s", "text"),
    [(4, "in 4 s"), (-12, "12 s ago"), (0.3, "now"), (-0.3, "now"), (0.6, "in 1 s"), (-7200, "2 h ago")],
)
def test_a_distance_is_told(offset_s: float, text: str) -> None:
    assert describe_distance(NOW + timedelta(seconds=offset_s), NOW) == text


def test_a_moment_is_told_exactly_and_by_its_distance() -> None:
    assert describe_moment("2026-11-22T08:00:05.123Z", NOW) == "2026-11-22 08:00:05Z (in 5 s)"
    assert describe_moment(None, NOW) == "-"


@pytest.mark.parametrize("odd", ["soon", 5, True, {"at": 1}, "2026-11-22T08:00:00"])
def test_an_odd_moment_is_shown_as_it_is(odd: object) -> None:
    assert describe_moment(odd, NOW) == str(odd)


def test_a_moment_survives_writing_and_reading() -> None:
    assert read_moment(exact(NOW)) == NOW
