"""What the doctor finds at the history's database. Everything here reads; nothing is made and nothing written."""

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

from infrastructure.cli.findings import Area, Finding
from infrastructure.jobs.history.address import DatabaseAddress
from infrastructure.jobs.history.settings import HistorySettings

HISTORY = Area("history")
TIMEOUT_S = 5.0
VERSIONS = "SELECT version_num FROM roundsman_history_version"
MEND = "Mend what it says; 'docs/how-to/keep-a-history.md' tells what the database must allow."


def look_at_history(settings: HistorySettings, data_dir: Path, *, is_shared: bool) -> Iterator[Finding]:
    """Yield how the database stands; ``is_shared`` tells whether processes elsewhere may share the store."""
    if not settings.enabled:
        yield HISTORY.note("use", "no history of jobs is kept (history.enabled is false)")
        return
    address = settings.address(data_dir)
    if address.file is not None and is_shared:
        says = f"The store may be shared with other machines, and the history is the {address} of this one"
        yield HISTORY.note("place", f"{says}: with several machines set history.database_url to a PostgreSQL")
    if address.file is not None and not address.file.exists():
        yield HISTORY.note("database", f"there is no {address} yet; the program makes it")
        return
    try:
        found = _version_in_file(address.file) if address.file is not None else asyncio.run(_version_at(address))
    except Exception as error:  # noqa: BLE001 - a driver's words for whatever is wrong there
        from infrastructure.jobs.history.database import said_by

        yield HISTORY.wrong("database", f"The {address} cannot be read: {said_by(error)}.", MEND)
        return
    yield _schema(address, found)


def _schema(address: DatabaseAddress, found: str | None) -> Finding:
    from infrastructure.jobs.history.schema import KNOWN, NEWEST

    if found is None:
        return HISTORY.note("database", f"nothing of this program is in the {address} yet")
    if found not in KNOWN:
        says = f"The {address} has version {found}, and this program knows {NEWEST} at most."
        mend = "Start the version that made it, or set history.database_url to another database."
        return HISTORY.wrong("schema", says, mend, version=found)
    return HISTORY.ok("database", f"{address}, schema version {found}", version=found)


def _version_in_file(file: Path) -> str | None:
    with closing(sqlite3.connect(f"file:{quote(str(file))}?mode=ro", uri=True, timeout=TIMEOUT_S)) as connection:
        try:
            return _text(connection.execute(VERSIONS).fetchone())
        except sqlite3.OperationalError as error:
            if "no such table" in str(error):
                return None
            raise


async def _version_at(address: DatabaseAddress) -> str | None:
    import asyncpg

    connection = await asyncpg.connect(address.dsn, timeout=TIMEOUT_S, command_timeout=TIMEOUT_S)
    try:
        return _text(await connection.fetchrow(VERSIONS))
    except asyncpg.UndefinedTableError:
        return None
    finally:
        await connection.close(timeout=TIMEOUT_S)


def _text(row: Any) -> str | None:
    return None if row is None else str(row[0])
