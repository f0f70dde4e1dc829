"""Logging: lines for people, or one JSON object a line for machines."""

import json
import logging
import os
import sys
import threading
from copy import copy
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Literal, TextIO

from infrastructure.cli.texts import printable
from infrastructure.telemetry.run_context import FIELDS, RunFacts

CONSOLE = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"
QUIET = (
    "uvicorn.error",
    "uvicorn.access",
    "apscheduler",
    "httpx2",
    "asyncio",
    "opentelemetry",
    "urllib3",
    "alembic.runtime.plugins",
)
"""Other people's loggers: heard from WARNING on."""
STANDARD = vars(logging.makeLogRecord({})).keys() | {"taskName", "asctime", "message", *FIELDS}
"""What every record has; the rest was given as ``extra``."""
LONGEST = 32_768
"""Characters of a message or of a traceback that are kept: a line must fit through what carries it."""
COLOURS = {"DEBUG": "\x1b[2m", "WARNING": "\x1b[33m", "ERROR": "\x1b[31m", "CRITICAL": "\x1b[1;31m"}
DIM, PLAIN = "\x1b[2m", "\x1b[0m"
LINE_ENDS = str.maketrans({"\u2028": "\\u2028", "\u2029": "\\u2029", "\x85": "\\u0085", "\x7f": "\\u007f"})
"""What JSON may hold as it is and some readers take for the end of a line."""
SHORT = {"run_id": "run", "attempt": "attempt", "correlation_id": "correlation", "trace_id": "trace"}
"""The fields that people see, and what they see them as; the job's id begins its runs' ids."""


class ConsoleFormatter(logging.Formatter):
    """Lines for people. Names and errors come from elsewhere: what would steer a terminal is written out, and no line
    but the first of a message begins at the margin, so that none can pass for another message."""

    def __init__(self, colours: bool = False) -> None:
        super().__init__(CONSOLE)
        self._colours = colours

    def format(self, record: logging.LogRecord) -> str:
        """Return the lines."""
        record = copy(record)
        record.msg, record.args = _cut(_message(record)), None
        text = printable(super().format(record), lines=True).replace("\n", "\n    ")
        first, end, rest = text.partition("\n")
        if about := _about(record):
            first = f"{first} {DIM}{about}{PLAIN}" if self._colours else f"{first} {about}"
        if self._colours and (colour := COLOURS.get(record.levelname)):
            before = len(record.asctime) + 1
            after = before + len(record.levelname)
            first = f"{first[:before]}{colour}{first[before:after]}{PLAIN}{first[after:]}"
        return f"{first}{end}{rest}"


class JsonFormatter(logging.Formatter):
    """One object a line: time (RFC 3339, UTC), level, logger, message, what is known of the run and of the trace
    (``FIELDS``), the traceback as ``error``, the stack as ``stack``, and ``extra`` facts.

    Whatever is logged, it is one line of valid JSON: what has no JSON is told as text, and a message whose arguments do
    not fit is told with them.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat().replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _cut(_message(record)),
        }
        line |= {name: value for name in FIELDS if (value := getattr(record, name, ""))}
        if record.exc_info:
            line["error"] = _cut(self.formatException(record.exc_info), keep_end=True)
        if record.stack_info:
            line["stack"] = _cut(record.stack_info, keep_end=True)
        extra = {name: value for name, value in vars(record).items() if name not in STANDARD and name not in line}
        return _json({**line, **extra})


def set_up_logging(level: str, style: Literal["console", "json"]) -> None:
    """Send the program's log to stderr, with Python's warnings and what nobody caught; called once, by the program and
    by no library."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if style == "json" else ConsoleFormatter(shows_colours(sys.stderr)))
    handler.addFilter(RunFacts())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for name in QUIET:
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLogger().level))
    logging.captureWarnings(True)
    if style == "json":
        threading.excepthook = _tell_of_thread
        sys.excepthook = _tell_uncaught


def shows_colours(stream: TextIO) -> bool:
    """Tell whether a stream leads to people who see colours; NO_COLOR in the environment says that they do not."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _about(record: logging.LogRecord) -> str:
    known = ((shown, getattr(record, name, "")) for name, shown in SHORT.items())
    facts = " ".join(f"{shown}={printable(str(value))}" for shown, value in known if value)
    return f"[{facts}]" if facts else ""


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception as error:  # noqa: BLE001 - what a body logs wrongly must not break the log for machines
        return f"{_shown(record.msg)} {_shown(record.args)} (does not fit: {type(error).__name__})"


def _cut(text: str, keep_end: bool = False) -> str:
    left_out = len(text) - LONGEST
    if left_out <= 0:
        return text
    note = f"({left_out} characters left out)"
    return f"{note} ...{text[-LONGEST:]}" if keep_end else f"{text[:LONGEST]}... {note}"


def _json(line: dict[str, object]) -> str:
    try:
        text = json.dumps(line, ensure_ascii=False, allow_nan=False, default=_shown)
    except (TypeError, ValueError, RecursionError):  # a key that is no text, NaN, a list that holds itself
        text = json.dumps({name: _plain(value) for name, value in line.items()}, ensure_ascii=False)
    # Half a surrogate pair has no UTF-8; its escape is JSON.
    return text.translate(LINE_ENDS).encode("utf-8", "backslashreplace").decode()


def _plain(value: Any) -> Any:
    return value if isinstance(value, str | int | None) else _shown(value)


def _shown(value: object) -> str:
    try:
        return str(value)
    except Exception:  # noqa: BLE001 - its __str__ may be as broken as the rest
        return f"(a {type(value).__name__} that cannot be shown)"


def _tell_of_thread(ended: threading.ExceptHookArgs) -> None:
    if ended.exc_value is not None and ended.exc_type is not SystemExit:
        name = ended.thread.name if ended.thread else "?"
        told = (ended.exc_type, ended.exc_value, ended.exc_traceback)
        logging.getLogger("threading").error("the thread %s ended with an error", name, exc_info=told)


def _tell_uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
    else:
        logging.getLogger("main").critical("the program ends with an error", exc_info=(kind, error, trace))
