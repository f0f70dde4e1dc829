"""Hear what the program writes to stderr."""

import json
import logging
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from infrastructure.telemetry.logs import QUIET

Said = Callable[[], list[str]]


def objects(said: Said) -> list[dict[str, Any]]:
    """Return the lines as what they are: one JSON object each."""
    return [json.loads(line) for line in said()]


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Iterator[Said]:
    """Return the lines on stderr so far, and put logging back as it was: it belongs to the test runner."""
    root, loggers = logging.getLogger(), [logging.getLogger(name) for name in QUIET]
    handlers, levels = root.handlers[:], [(logger, logger.level) for logger in (root, *loggers)]
    hooks = sys.excepthook, threading.excepthook
    root.handlers = []
    yield lambda: capsys.readouterr().err.splitlines()
    logging.captureWarnings(False)
    sys.excepthook, threading.excepthook = hooks
    root.handlers = handlers
    for logger, level in levels:
        logger.setLevel(level)
