"""The clock offset, and what an instance hears when it announces itself."""

import json
import logging
import time
from collections.abc import Iterator
from datetime import datetime

import pytest

from domain.runs.instance import InstanceStatus, heard_status
from infrastructure.runs.layout import LAYOUT
from infrastructure.runs.presence import LOOKS_COMPARED, ClockOffset, Presence, Stopwatch


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    with caplog.at_level(logging.WARNING):
        yield caplog


def test_the_offset_is_measured_from_the_middle_of_the_round_trip() -> None:
    clock = ClockOffset()
    assert clock.seconds is None
    clock.note(2.0, 101.0, (90, 500_000))
    assert clock.seconds == pytest.approx(9.5)


def test_a_host_whose_clock_is_behind_has_a_negative_offset() -> None:
    clock = ClockOffset()
    clock.note(0.0, 100.0, (160, 0))
    assert clock.seconds == pytest.approx(-60)


def test_the_quickest_of_the_last_looks_counts() -> None:
    clock = ClockOffset()
    clock.note(0.010, 100.0, (100, 0))
    clock.note(0.001, 200.0, (193, 0))
    clock.note(3.0, 300.0, (300, 0))
    assert clock.seconds == pytest.approx(6.9995)
    for _ in range(LOOKS_COMPARED):
        clock.note(0.5, 300.0, (300, 0))
    assert clock.seconds == pytest.approx(-0.25), "what was measured long ago is forgotten"


def test_a_stopwatch_tells_how_long_it_took_and_when_it_ended() -> None:
    took, ended = Stopwatch().read()
    assert took >= 0
    assert ended > 1_700_000_000


def test_what_is_announced_names_the_lease_and_the_offset_and_begins_with_the_id() -> None:
    presence = Presence("i1", 4_000, lambda: {"role": "api", "claimed": 0})
    assert json.loads(presence.words()[2])["clock_offset_s"] is None
    presence.clock.note(0.0, 10.0, (8, 0))
    instance, lease, text, layout = presence.words()
    assert (instance, lease, layout) == ("i1", 4_000, LAYOUT)
    assert text.startswith('{"id": "i1"'), "the script adds members in front"
    facts = json.loads(text)
    began = datetime.fromisoformat(facts.pop("started_at")).timestamp()
    assert facts == {"id": "i1", "role": "api", "claimed": 0, "lease_ms": 4_000, "clock_offset_s": 2.0}
    assert -60 < began - (time.time() - 2.0) < 0.1, "it began by the store's clock"
    presence.clock.note(0.0, 100.0, (8, 0))
    assert json.loads(presence.words()[2])["started_at"] == json.loads(text)["started_at"]
    assert presence.period_s == 1.0


def test_an_instance_that_was_declared_gone_is_told_so(log: pytest.LogCaptureFixture) -> None:
    presence = Presence("i1", 4_000, dict)
    presence.heard(Stopwatch(), [1, 2, ["new", LAYOUT]])
    presence.heard(Stopwatch(), ["1", "2", ["known", str(LAYOUT)], []])
    assert log.messages == []
    presence.heard(Stopwatch(), [1, 2, ["back", LAYOUT]])
    assert "declared gone" in log.text


def test_another_layout_in_the_store_is_told_once(log: pytest.LogCaptureFixture) -> None:
    presence = Presence("i1", 4_000, dict)
    for _ in range(3):
        presence.heard(Stopwatch(), [1, 2, ["known", LAYOUT + 1]])
    assert len(log.messages) == 1
    assert f"layout {LAYOUT + 1}" in log.text


def test_it_sweeps_at_once_then_once_a_lease_and_again_while_there_is_more_to_do() -> None:
    presence = Presence("i1", 4_000, dict)

    def asked() -> str | None:
        words = presence.sweep_words()
        return None if words is None else words[2]

    assert asked() == "1", "whoever swept before: it may know what waits"
    presence.swept("1")
    assert asked() == "1"
    presence.swept("")
    assert [asked() for _ in range(4)] == [None, None, None, ""]
    presence.swept("")
    assert asked() is None


def test_a_sweep_that_was_not_answered_is_asked_for_again() -> None:
    presence = Presence("i1", 4_000, dict)
    assert presence.sweep_words() is not None
    assert presence.sweep_words() is not None


@pytest.mark.parametrize(
    ("silent_ms", "status"),
    [(0, InstanceStatus.ALIVE), (5_000, InstanceStatus.ALIVE), (5_001, InstanceStatus.SILENT)],
)
def test_who_is_silent_for_more_than_a_lease_is_shown_so(silent_ms: int, status: InstanceStatus) -> None:
    assert heard_status(silent_ms, 5_000) is status
