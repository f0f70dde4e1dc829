"""Whatever is logged: for machines it is one line of valid JSON, and no line is anybody else's."""

import json
import logging
import subprocess
import sys
import threading
from typing import Any

import pytest

from infrastructure.telemetry.logs import LONGEST, set_up_logging
from unit.telemetry.log_kit import Said, objects

log = logging.getLogger("application.telemetry_test")


class Broken:
    """Something that cannot even be shown."""

    def __str__(self) -> str:
        raise RuntimeError("no")

    __repr__ = __str__


LOOP: list[Any] = []
LOOP.append(LOOP)

NO_JSON = [{("a", 1): 2}, {"x": float("nan")}, float("inf"), LOOP, Broken(), b"\xff", {1, 2}, "half \ud800 of a pair"]


@pytest.mark.parametrize("value", NO_JSON, ids=lambda value: type(value).__name__)
def test_what_has_no_json_is_told_as_text(said: Said, value: object) -> None:
    set_up_logging("info", "json")
    log.info("told", extra={"fact": value, "other": "stays"})
    (line,) = said()
    found = json.loads(line, parse_constant=pytest.fail)
    assert (found["message"], found["other"]) == ("told", "stays")
    assert "fact" in found


@pytest.mark.parametrize("style", ["json", "console"])
@pytest.mark.parametrize("args", [(1,), ("a", "b"), (Broken(),)], ids=["wrong kind", "too many", "broken"])
def test_a_message_whose_arguments_do_not_fit_is_told_all_the_same(said: Said, style: Any, args: Any) -> None:
    set_up_logging("info", style)
    log.info("%s and \n %d are %s", *args)
    (*lines,) = said()
    assert "Traceback" not in "".join(lines)
    assert "does not fit" in lines[-1]
    assert all(line.startswith("    ") for line in lines[1:])


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\u2028", "\u2029", "\x85", "\x0b", "\x1c", "\x00"])
def test_no_character_ends_a_line_before_its_time(said: Said, end: str) -> None:
    set_up_logging("info", "json")
    hostile = f'x{end}{{"level":"error","message":"all is lost"}}'
    log.warning("worker %s", hostile, extra={"worker": hostile, hostile: "a name"})
    logging.getLogger(hostile).warning("mine")
    first, second = objects(said)
    assert (first["level"], first["message"], first["worker"]) == ("warning", f"worker {hostile}", hostile)
    assert second["logger"] == hostile


def test_facts_replace_nothing_that_the_line_itself_says(said: Said) -> None:
    set_up_logging("info", "json")
    log.info("mine", extra={"level": "error", "time": "never", "logger": "other", "run_id": ""})
    (line,) = objects(said)
    assert (line["level"], line["logger"]) == ("info", "application.telemetry_test")
    assert line["time"] != "never"
    assert "run_id" not in line


def test_an_endless_message_and_an_endless_error_are_cut_and_say_so(said: Said) -> None:
    set_up_logging("info", "json")
    try:
        raise ValueError("y" * 1_000_000)
    except ValueError:
        log.exception("x" * 1_000_000)
    (line,) = objects(said)
    assert line["message"].endswith(f"x... ({1_000_000 - LONGEST} characters left out)")
    assert line["error"].startswith("(")
    assert line["error"].endswith("yyy")
    assert len(line["error"]) < LONGEST + 100


def test_chained_errors_and_stacks_stay_within_one_line(said: Said) -> None:
    set_up_logging("info", "json")
    try:
        try:
            raise KeyError("first\nof two")
        except KeyError as error:
            raise ExceptionGroup("several", [ValueError("second"), OSError("third")]) from error
    except ExceptionGroup:
        log.exception("it failed", stack_info=True)
    (line,) = objects(said)
    assert all(word in line["error"] for word in ("KeyError", "ValueError: second", "OSError: third"))
    assert line["stack"].startswith("Stack")


def test_errors_of_threads_and_warnings_of_python_are_lines_too(said: Said) -> None:
    set_up_logging("info", "json")

    def fail() -> None:
        raise ValueError("in a\nthread")

    thread = threading.Thread(target=fail, name="worker")
    thread.start()
    thread.join()
    (line,) = objects(said)
    assert line["message"] == "the thread worker ended with an error"
    assert line["error"].endswith("thread")


def test_what_nobody_caught_and_a_warning_are_one_line_each() -> None:
    code = (
        "import warnings; from infrastructure.telemetry.logs import set_up_logging; set_up_logging('info', 'json'); "
        "warnings.simplefilter('always'); warnings.warn('old\\nways'); raise ValueError('two\\nlines')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    warning, error = (json.loads(line) for line in done.stderr.splitlines())
    assert done.returncode == 1
    assert (warning["level"], warning["logger"]) == ("warning", "py.warnings")
    assert (error["level"], error["message"]) == ("critical", "the program ends with an error")
    assert error["error"].endswith("ValueError: two\nlines")


def test_colours_are_for_terminals(said: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    set_up_logging("info", "console")
    log.error("plain")
    assert "\x1b" not in "".join(said())
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    set_up_logging("info", "console")
    log.error("\x1b[32mred\n\x1b[32mrest")
    first, second = said()
    assert "\x1b[31mERROR\x1b[0m" in first
    assert first.endswith("\\x1b[32mred")
    assert second == "    \\x1b[32mrest"
    monkeypatch.setenv("NO_COLOR", "1")
    set_up_logging("info", "console")
    log.error("plain")
    assert "\x1b" not in "".join(said())
