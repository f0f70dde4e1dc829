"""Logging: lines for people, or one JSON object a line for machines."""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Literal

from infrastructure.cli.texts import printable

CONSOLE = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"
QUIET = ("uvicorn.error", "uvicorn.access", "apscheduler", "httpx2", "asyncio")
"""Other people's loggers: heard from WARNING on."""
STANDARD = vars(logging.makeLogRecord({})).keys() | {"taskName"}
"""What every record has; the rest was given as ``extra``."""


class ConsoleFormatter(logging.Formatter):
    """Lines for people. Names and errors come from elsewhere: what would steer a terminal is written out, and no line
    but the first of a message begins at the margin, so that none can pass for another message."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the lines."""
        return printable(super().format(record), lines=True).replace("\n", "\n    ")


class JsonFormatter(logging.Formatter):
    """One object a line: time (RFC 3339, UTC), level, logger, message, ``extra`` facts, the traceback as ``error``."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line: dict[str, object] = {
            **{name: value for name, value in vars(record).items() if name not in STANDARD},
            "time": datetime.fromtimestamp(record.created, UTC).isoformat().replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


def set_up_logging(level: str, style: Literal["console", "json"]) -> None:
    """Send the program's log to stderr; called once, by the program and by no library."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if style == "json" else ConsoleFormatter(CONSOLE))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for name in QUIET:
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLogger().level))
