"""A job is a class: make it by hand, with what it needs, and call it."""

import asyncio
import sqlite3
from pathlib import Path

from library import Loans, Postman
from library_jobs import RemindReaders


def test_readers_are_reminded_of_what_they_have_for_too_long(tmp_path: Path) -> None:
    loans = Loans(sqlite3.connect(":memory:"))
    loans.lend("Ada", "Notes", days=40)
    loans.lend("Bob", "Maps", days=3)
    letters = tmp_path / "letters.txt"
    job = RemindReaders(loans=loans, postman=Postman(letters))
    assert asyncio.run(job.run_every()) == {"reminded": 1}
    assert letters.read_text() == "Dear Ada, please bring back 'Notes'.\n"
