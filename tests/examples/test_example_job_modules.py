"""Job modules in Roundsman's process, with a container of two resources, as the example's README says."""

import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from examples.example_kit import Project, documented

README = "examples/job-modules/README.md"
EMBED = "docs/how-to/embed.md"
REMINDERS = {"id": "reminders", "name": "RemindReaders", "data": {"days": 28}, "trigger": {"interval_s": 0.1}}

pytestmark = pytest.mark.usefixtures("no_server_left")


def test_reminders_are_written_through_a_kill_and_a_restart(tmp_path: Path) -> None:
    run = [*documented("roundsman run", README, EMBED), "--port", "0"]
    with Project("job-modules", tmp_path, PYTHONPATH=".") as library:
        assert "RemindReaders" in library.run(*documented("roundsman check", README, EMBED))
        assert not (library.directory / "letters.txt").exists(), "check opens nothing"
        library.start(run)
        lend(library)
        library.call("POST", "/api/v1/schedules", 201, REMINDERS)
        library.wait(lambda: reminded(library) > 0, "a letter")
        assert letters(library)[0] == "the postman comes"
        library.kill()
        before = reminded(library)
        library.start(run)
        library.wait(lambda: reminded(library) > before, "a letter after the kill")
        assert library.stop(signal.SIGINT) == 0, library.said
        assert letters(library)[-1] == "the postman goes"
        assert "Traceback" not in library.said


def test_its_own_tests_pass(tmp_path: Path) -> None:
    with Project("job-modules", tmp_path) as library:
        assert "1 passed" in library.run("pytest", "-q", "-p", "no:randomly", "-p", "no:asyncio")


def lend(library: Project) -> None:
    with closing(sqlite3.connect(library.directory / "library.db", timeout=30)) as database, database:
        database.execute("INSERT INTO loans VALUES ('Ada', 'Notes', 40)")


def letters(library: Project) -> list[str]:
    return (library.directory / "letters.txt").read_text().splitlines()


def reminded(library: Project) -> int:
    return letters(library).count("Dear Ada, please bring back 'Notes'.")
