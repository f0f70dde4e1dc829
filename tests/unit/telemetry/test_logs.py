"""What the program writes to stderr."""

import logging
from datetime import UTC, datetime

import pytest

from infrastructure.telemetry.logs import QUIET, set_up_logging
from unit.telemetry.log_kit import Said, objects

log = logging.getLogger("application.telemetry_test")


def test_for_people_a_line_has_time_level_logger_and_message(said: Said) -> None:
    set_up_logging("info", "console")
    log.warning("the disk is %d %% full", 91)
    (line,) = said()
    assert line.endswith("WARNING application.telemetry_test: the disk is 91 % full")
    assert datetime.fromisoformat(line[:19].replace(" ", "T"))


def test_no_name_from_elsewhere_steers_the_terminal_or_passes_for_another_message(said: Said) -> None:
    set_up_logging("info", "console")
    log.error("worker %s is silent", "b\x1b[2Jx\n2026-11-22 ERROR all is lost")
    first, second = said()
    assert first.endswith("worker b\\x1b[2Jx")
    assert second == "    2026-11-22 ERROR all is lost is silent"


def test_for_machines_each_line_is_one_json_object(said: Said) -> None:
    set_up_logging("info", "json")
    log.error("two lines\nand \x1b[31mcolour, naïve “%s”", "日本")
    (line,) = objects(said)
    assert line["level"] == "error"
    assert line["logger"] == "application.telemetry_test"
    assert line["message"] == "two lines\nand \x1b[31mcolour, naïve “日本”"
    time = datetime.fromisoformat(line["time"])
    assert line["time"].endswith("Z")
    assert abs((datetime.now(UTC) - time).total_seconds()) < 60
    assert line.keys() == {"time", "level", "logger", "message"}


def test_facts_that_come_with_a_message_are_told_to_machines(said: Said) -> None:
    set_up_logging("info", "json")
    log.info("it fires", extra={"alert_id": "a1", "levels": [0.5], "since": datetime(2026, 11, 22, tzinfo=UTC)})
    (line,) = objects(said)
    assert (line["alert_id"], line["levels"], line["since"]) == ("a1", [0.5], "2026-11-22 00:00:00+00:00")


def test_a_traceback_stays_within_its_line(said: Said) -> None:
    set_up_logging("info", "json")
    try:
        raise ValueError("no such worker")
    except ValueError:
        log.exception("it failed")
    (line,) = objects(said)
    assert line["message"] == "it failed"
    assert line["error"].startswith("Traceback")
    assert line["error"].endswith("ValueError: no such worker")


def test_less_important_messages_are_left_out(said: Said) -> None:
    set_up_logging("warning", "json")
    log.info("all is well")
    log.warning("not so well")
    assert [line["message"] for line in objects(said)] == ["not so well"]


@pytest.mark.parametrize(("level", "heard"), [("debug", ["warning", "error"]), ("error", ["error"])])
def test_libraries_are_heard_from_warnings_on_and_never_more_than_the_program(
    said: Said, level: str, heard: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    set_up_logging(level, "json")
    for name in QUIET:
        monkeypatch.setattr(logging.getLogger(name), "propagate", True)  # a server without access log turns it off
        for importance in ("debug", "info", "warning", "error"):
            getattr(logging.getLogger(name), importance)("said")
    assert [line["level"] for line in objects(said)] == heard * len(QUIET)


def test_setting_up_again_replaces_what_was_there(said: Said) -> None:
    set_up_logging("info", "console")
    set_up_logging("info", "json")
    log.info("once")
    assert [line["message"] for line in objects(said)] == ["once"]
