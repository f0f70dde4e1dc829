"""A small library: its loans in SQLite, and a postman who puts letters into a file."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path


class Loans:
    """Who has which book."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database
        database.execute("CREATE TABLE IF NOT EXISTS loans (reader TEXT, book TEXT, days INTEGER)")

    def lend(self, reader: str, book: str, days: int) -> None:
        """Note a book that has been away for so many days."""
        with self._database as database:
            database.execute("INSERT INTO loans VALUES (?, ?, ?)", (reader, book, days))

    def overdue(self, days: int) -> list[tuple[str, str]]:
        """Return reader and book of what is away for longer."""
        found = self._database.execute("SELECT reader, book FROM loans WHERE days > ? ORDER BY reader", (days,))
        return [(reader, book) for reader, book in found]


class Postman:
    """Carry letters, one after the other, to a file."""

    def __init__(self, letters: Path) -> None:
        self._letters = letters

    async def deliver(self, letter: str) -> None:
        """Return when the letter is in the file."""
        await asyncio.to_thread(self._write, letter)

    def _write(self, line: str) -> None:
        with self._letters.open("a") as letters:
            letters.write(f"{line}\n")


def open_loans(path: str) -> Iterator[Loans]:
    """Open the database when the program starts, and close it when it ends."""
    with closing(sqlite3.connect(path)) as database:
        yield Loans(database)


async def open_postman(letters: str) -> AsyncIterator[Postman]:
    """Begin and end the postman's day; what is awaited here holds up the start and the end of the program."""
    postman = Postman(Path(letters))
    await postman.deliver("the postman comes")
    yield postman
    await postman.deliver("the postman goes")
