"""What docs/how-to/choose-a-trigger.md shows, held against the program."""

import ast
import re
from pathlib import Path
from typing import Any

import pytest

from application.scheduling.words import describe
from domain.scheduling.descriptor import RecurrentTaskDescriptor
from infrastructure.web.schedule_requests import ScheduleRequest

PAGE = (Path(__file__).parents[3] / "docs/how-to/choose-a-trigger.md").read_text()
ROWS = re.findall(r"^\|[^|]*\| `(\w+)=(.*?)` \| (.*?) \|$", PAGE, re.MULTILINE)


@pytest.mark.parametrize(("kind", "value", "said"), ROWS)
def test_the_words_of_the_table_are_those_of_the_program(kind: str, value: str, said: str) -> None:
    zone: dict[str, Any] = {"timezone": "Europe/Brussels"} if said.endswith("Europe/Brussels") else {}
    descriptor = RecurrentTaskDescriptor(id="s", name="Job", **{kind: ast.literal_eval(value)}, **zone)
    assert describe(descriptor, 0) == said


def test_the_table_is_there() -> None:
    assert {kind for kind, *_ in ROWS} == {"interval", "cron", "calendar", "either", "both"}


def test_the_request_is_the_descriptor_above_it() -> None:
    python, request = (re.search(rf"```{kind}\n(.*?)```", PAGE, re.DOTALL) for kind in ("python", "json"))
    assert python
    assert request
    found: dict[str, Any] = {}
    exec(python[1].replace("RecurrentTaskDescriptor(\n", "made = RecurrentTaskDescriptor(\n"), found)  # noqa: S102
    assert ScheduleRequest.model_validate_json(request[1]).descriptor() == found["made"]
