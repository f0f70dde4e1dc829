"""What the doctor says of the history's database; it makes nothing and writes nothing."""

from pathlib import Path

import pytest
import sqlalchemy as sa

from infrastructure.cli.doctor_history import look_at_history
from infrastructure.cli.findings import Finding, Level
from infrastructure.jobs.history.settings import HistorySettings
from integration.history_kit import HistoryUnderTest
from postgres_server import PostgresServer


def look(url: str, data_dir: Path = Path("unused"), *, is_shared: bool = False) -> list[Finding]:
    return list(look_at_history(HistorySettings(database_url=url), data_dir, is_shared=is_shared))


# Not async: the doctor has a loop of its own.
def test_an_empty_database_is_nothing_wrong(postgres: PostgresServer, tmp_path: Path) -> None:
    (of_postgres,) = look(postgres.new_database())
    (of_sqlite,) = look("", tmp_path)
    assert [of_postgres.level, of_sqlite.level] == [Level.NOTE, Level.NOTE]
    assert list(tmp_path.iterdir()) == []


async def test_a_history_is_known_by_its_version(history: HistoryUnderTest, history_url: str) -> None:
    import asyncio

    (found,) = await asyncio.to_thread(look, history_url)
    assert (found.level, found.facts["version"]) == (Level.OK, "0002")
    async with history.database.writing() as connection:
        await connection.execute(sa.text("UPDATE roundsman_history_version SET version_num = '0777'"))
    (newer,) = await asyncio.to_thread(look, history_url)
    assert (newer.level, newer.name) == (Level.WRONG, "schema")
    assert "has version 0777, and this program knows 0002" in newer.says


@pytest.mark.parametrize("what", ["postgresql", "file"])
def test_what_cannot_be_read_is_wrong_and_no_password_is_shown(what: str, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.write_text("this is no database, and long enough that nobody takes it for an empty one" * 100)
    url = f"sqlite:///{broken}" if what == "file" else f"postgresql://me:s3cret@/db?host={tmp_path}"
    (found,) = look(url)
    assert (found.level, found.name) == (Level.WRONG, "database")
    assert found.mend
    assert "s3cret" not in found.says + str(found.facts)


def test_a_file_of_one_machine_behind_a_store_of_many_is_noted(tmp_path: Path) -> None:
    place, _ = look("", tmp_path, is_shared=True)
    assert (place.level, place.name) == (Level.NOTE, "place")


def test_no_history_is_said_to_be_none(tmp_path: Path) -> None:
    (found,) = look_at_history(HistorySettings(enabled=False), tmp_path, is_shared=True)
    assert "no history of jobs is kept" in found.says
