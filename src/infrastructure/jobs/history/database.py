"""The history's database: how it is connected to, and what its errors mean. Loads SQLAlchemy as it is imported."""

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import asyncpg
import sqlalchemy as sa
from sqlalchemy import event, exc
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from domain.jobs.errors import HistoryUnavailable
from infrastructure.jobs.history.address import DatabaseAddress
from infrastructure.jobs.history.schema import bring_up

CONNECT_TIMEOUT_S = 5.0
STATEMENT_TIMEOUT_S = 30.0
MIGRATION_TIMEOUT_S = 600.0
"""A version that counts otherwise counts all anew."""
CLOSE_TIMEOUT_S = 5.0
SQLITE_CONNECTIONS = 3
"""One writes at a time; the others read meanwhile, as the file has a write-ahead log."""
POSTGRES_CONNECTIONS = 4
WRITERS_LOCK = 0x726F756E64736D6E
"""The advisory lock that a transaction takes which writes: what is counted is counted once."""
PRAGMAS = ("journal_mode=WAL", "synchronous=FULL", f"busy_timeout={CONNECT_TIMEOUT_S * 1000:.0f}", "temp_store=MEMORY")
"""FULL: what the store is told to forget must be on disk."""
ROW_FAULTS = ("22", "23", "54")
"""Classes of SQLSTATE that a row is at fault for: its data, a constraint, a limit."""


class Database:
    """The connections of one process to the history. Use it on the loop that opened it, and close it there."""

    def __init__(self, address: DatabaseAddress) -> None:
        self.address = address
        self._engine = _sqlite(address) if address.file is not None else _postgres(address)

    async def open(self) -> None:
        """Connect, and bring the schema to this version; raises ``HistoryUnavailable`` and ``HistoryTooNew``."""
        if self.address.file is not None:
            await asyncio.to_thread(_make_file, self.address)
        async with self.writing(MIGRATION_TIMEOUT_S) as connection:
            await connection.run_sync(bring_up, str(self.address))

    async def close(self) -> None:
        """Close all connections; twice is fine. What does not close in time is cut."""
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self._engine.dispose()
        except TimeoutError:
            await self._engine.dispose(close=False)

    @asynccontextmanager
    async def reading(self, timeout_s: float = STATEMENT_TIMEOUT_S) -> AsyncIterator[AsyncConnection]:
        """Give a connection within a transaction that writes nothing; raises ``HistoryUnavailable``."""
        with database_errors():
            async with asyncio.timeout(timeout_s), self._engine.connect() as connection:
                yield connection

    @asynccontextmanager
    async def writing(self, timeout_s: float = STATEMENT_TIMEOUT_S) -> AsyncIterator[AsyncConnection]:
        """Give a connection within a transaction, the only one that writes; it is committed at the end.

        Raises ``HistoryUnavailable``; what a row is at fault for (``is_row_fault``) is raised as it is.
        """
        with database_errors(let_through=is_row_fault):
            async with asyncio.timeout(timeout_s), self._engine.connect() as plain:
                connection = await plain.execution_options(writes=True)
                async with connection.begin():
                    if connection.dialect.name == "postgresql":
                        await connection.execute(sa.text(f"SELECT pg_advisory_xact_lock({WRITERS_LOCK})"))
                    yield connection


def is_row_fault(error: BaseException) -> bool:
    """Tell whether an error says that a row cannot be stored, and another one could."""
    if isinstance(error, exc.DataError | exc.IntegrityError | OverflowError):
        return True
    origin = error.orig if isinstance(error, exc.DBAPIError) else None
    return str(getattr(origin, "sqlstate", None) or "")[:2] in ROW_FAULTS


@contextmanager
def database_errors(let_through: Any = lambda error: False) -> Iterator[None]:
    """Raise ``HistoryUnavailable`` for what a driver, the pool or a timeout says."""
    try:
        yield
    except (
        exc.SQLAlchemyError,
        asyncpg.PostgresError,
        asyncpg.InterfaceError,
        sqlite3.Error,
        OSError,
        TimeoutError,
    ) as error:
        if let_through(error):
            raise
        raise HistoryUnavailable(why=said_by(error)) from error


def said_by(error: BaseException) -> str:
    """Return what went wrong in one line, without the statement and its values."""
    if isinstance(error, exc.TimeoutError):
        return "all connections to it are in use"
    if isinstance(error, TimeoutError):
        return "it did not answer in time"
    origin = (error.orig if isinstance(error, exc.DBAPIError) else None) or error
    first = (str(origin).strip().splitlines() or [""])[0]
    return f"{type(origin).__name__}: {first.partition('>: ')[2] or first}"[:300]


def _make_file(address: DatabaseAddress) -> None:
    """Make the directory and the file, for this user alone; SQLite gives what it puts beside it the same rights."""
    assert address.file is not None  # noqa: S101 - asked by the caller
    try:
        address.file.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(address.file, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise HistoryUnavailable(why=f"{address} cannot be written: {error.strerror}") from error


def _sqlite(address: DatabaseAddress) -> AsyncEngine:
    url = URL.create("sqlite+aiosqlite", database=str(address.file))
    engine = create_async_engine(
        url,
        pool_size=SQLITE_CONNECTIONS,
        max_overflow=0,
        pool_timeout=CONNECT_TIMEOUT_S,
        connect_args={"timeout": CONNECT_TIMEOUT_S},
        hide_parameters=True,
    )
    event.listen(engine.sync_engine, "connect", _prepare_sqlite)
    event.listen(engine.sync_engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: Any, _: Any) -> None:
    connection.isolation_level = (
        None  # transactions begin where ``_begin_sqlite`` says, and not where the driver guesses
    )
    cursor = connection.cursor()
    for pragma in PRAGMAS:
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: sa.Connection) -> None:
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _postgres(address: DatabaseAddress) -> AsyncEngine:
    async def connect(**_: Any) -> Any:
        return await asyncpg.connect(
            address.dsn,
            timeout=CONNECT_TIMEOUT_S,
            command_timeout=STATEMENT_TIMEOUT_S,
            server_settings={"application_name": "roundsman"},
        )

    return create_async_engine(
        "postgresql+asyncpg://",
        async_creator=connect,
        pool_size=POSTGRES_CONNECTIONS,
        max_overflow=0,
        pool_timeout=CONNECT_TIMEOUT_S,
        pool_pre_ping=True,
        pool_recycle=1_800,
        hide_parameters=True,
    )
