"""The page that draws the state machines shows what the code does."""

import re
from pathlib import Path

import pytest

from domain.monitoring.alert import TRANSITIONS as ALERT
from domain.runs.run import TRANSITIONS as RUN

PAGE = Path(__file__).parents[2] / "docs" / "state-machines.md"


def drawn(heading: str) -> set[tuple[str, str, str]]:
    section = PAGE.read_text().split(f"## {heading}\n")[1].split("\n## ")[0]
    return set(re.findall(r"^    (\w+) --> (\w+): (.+)$", section, re.MULTILINE))


@pytest.mark.parametrize(
    ("heading", "arrows"),
    [
        ("Run", {(old, new, why) for old, targets in RUN.items() for new, why in targets.items()}),
        (
            "Alert",
            {
                (old, arrow.to, f"{signal}, {arrow.why}")
                for old, signals in ALERT.items()
                for signal, arrow in signals.items()
            },
        ),
    ],
)
def test_every_arrow_is_drawn_and_no_other(heading: str, arrows: set[tuple[str, str, str]]) -> None:
    assert drawn(heading) == arrows
