"""A small shop. Its orders are in SQLite, so that any number of processes can share them."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime

from application.scheduling import BackgroundTasksBus, ScheduledTaskDescriptor

TABLES = """
CREATE TABLE IF NOT EXISTS orders (id INTEGER PRIMARY KEY, item TEXT NOT NULL, receipts INTEGER NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS counts (fire TEXT NOT NULL, missed INTEGER, attempt INTEGER, worker INTEGER, orders INTEGER);
"""


class Orders:
    """The shop's database. Each call has a connection of its own: they come from many threads."""

    def __init__(self, path: str) -> None:
        self._path = path

    @contextmanager
    def _database(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self._path, timeout=30)) as database, database:
            yield database

    def create_tables(self) -> None:
        """Make the tables that are not there yet."""
        with self._database() as database:
            database.executescript(TABLES)

    def add(self, item: str) -> int:
        """Take an order and return its number."""
        with self._database() as database:
            return int(database.execute("INSERT INTO orders (item) VALUES (?)", (item,)).lastrowid or 0)

    def receipts(self, order: int) -> int | None:
        """Return how many receipts were sent for an order; None for one that does not exist."""
        with self._database() as database:
            found = database.execute("SELECT receipts FROM orders WHERE id = ?", (order,)).fetchone()
        return found[0] if found else None

    def note_receipt(self, order: int) -> None:
        """Note that the receipt of an order was sent."""
        with self._database() as database:
            database.execute("UPDATE orders SET receipts = receipts + 1 WHERE id = ?", (order,))

    def note_count(self, fire: datetime, missed: int, attempt: int, worker: int) -> int:
        """Write down how many orders there are, and return that."""
        with self._database() as database:
            (count,) = database.execute("SELECT count(*) FROM orders").fetchone()
            row = (fire.isoformat(), missed, attempt, worker, count)
            database.execute("INSERT INTO counts VALUES (?, ?, ?, ?, ?)", row)
        return int(count)


class Shop:
    """Takes orders. What can wait is left to a background job."""

    def __init__(self, orders: Orders, bus: BackgroundTasksBus) -> None:
        self._orders = orders
        self._bus = bus

    def order(self, item: str) -> int:
        """Take an order; its receipt follows. For threads: endpoints with a plain ``def``."""
        order = self._orders.add(item)
        self._bus.schedule_task_sync(ScheduledTaskDescriptor(name="SendReceipt", data={"order": order}))
        return order
