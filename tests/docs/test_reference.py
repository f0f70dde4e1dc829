"""The pages of docs/reference are what the code makes: settings.md, cli.md, api.md and schedules.md."""

import re
from pathlib import Path

import pytest

import application.scheduling
import event_facts
from docs.blocks import ROOT
from infrastructure.cli.completion import TOPICS
from infrastructure.setting_kinds import Section
from infrastructure.settings import load_settings
from scripts import make_reference


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    return make_reference.pages()


@pytest.mark.parametrize("name", ["settings.md", "cli.md", "api.md", "schedules.md"])
def test_a_page_is_what_the_code_makes(name: str, pages: dict[str, str]) -> None:
    assert (ROOT / "docs/reference" / name).read_text() == pages[name], "write it anew: make docs"


def test_each_key_of_the_settings_is_on_its_page(pages: dict[str, str]) -> None:
    for section, value in load_settings(Path("/dev/null"), {}):
        for key in type(value).model_fields if isinstance(value, Section) else ():
            name = f"{section}.{key}"
            shown = (f"{name}\n", f"[[{name}]]", f"## [{name}]\n", f"[{name}.")
            assert any(text in pages["settings.md"] for text in shown), name


def test_each_field_of_what_is_scheduled_is_on_its_page(pages: dict[str, str]) -> None:
    for name in make_reference.MODELS:
        _, _, section = pages["schedules.md"].partition(f"## {name}\n")
        fields = set(getattr(application.scheduling, name).model_fields) - {"type"}
        named = re.findall(r"^\| `(\w+)` \| .+ \| .+ \| .+ \|$", section.partition("\n## ")[0], re.MULTILINE)
        assert fields == set(named), "each with its type, default and description"


def test_what_is_stale_is_told_and_written(
    pages: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(make_reference, "pages", lambda: pages)
    monkeypatch.setattr(make_reference, "REFERENCE", tmp_path / "reference")
    assert make_reference.main("--check") == 1
    assert make_reference.main() == 0
    assert make_reference.main("--check") == 0
    (tmp_path / "reference/cli.md").write_text("something else")
    assert make_reference.main("--check") == 1


def test_the_page_of_events_has_each_topic_and_no_other() -> None:
    named = re.findall(r"^\| `([a-z_.]+)` \|", (ROOT / "docs/reference/events.md").read_text(), re.MULTILINE)
    assert sorted(named) == sorted(topic for topic in TOPICS if "*" not in topic)


def test_events_that_differ_from_the_page_are_found() -> None:
    """What fixtures of tests hold each event against, when a test is over."""
    always, maybe = event_facts.documented()["job.started"]
    assert {"run_id", "attempt", "token"} <= always
    assert maybe == {"missed", "queue", "priority", "user_id", "team_id", "scheduled_at"}
    assert (
        event_facts.differences("job.started", always) == event_facts.differences("job.started", always | maybe) == []
    )
    assert event_facts.differences("job.started", (always - {"token"}) | {"colour"}) == [
        "job.started has colour, which the page does not tell",
        "job.started has no token, which the page promises",
    ]


def test_the_code_has_each_field_of_the_page() -> None:
    files = [*(ROOT / "src").rglob("*.py"), *(ROOT / "src").rglob("*.lua")]
    code = "".join(file.read_text() for file in files)
    fields = {name for always, maybe in event_facts.documented().values() for name in always | maybe}
    assert len(fields) > 50
    assert {name for name in fields if not re.search(rf"\b{name}\b", code)} == set()


def test_the_code_announces_each_topic_of_the_page() -> None:
    files = [*(ROOT / "src").rglob("*.py"), *(ROOT / "src").rglob("*.lua")]
    code = "".join(file.read_text() for file in files if file.name != "completion.py")
    unsaid = {topic for topic in TOPICS if "*" not in topic and not re.search(rf"['\"]{topic}['\"]", code)}
    assert unsaid == set()
