"""Several things that are wrong with one value, each with its place in it."""

from collections.abc import Iterable
from typing import Any

Place = dict[str, Any]
"""``loc``: names and indexes, from the outside in; ``msg``: what is wrong there, and how to mend it."""


class Problems(ValueError):
    """Raised by validators that see a value whole. Its text names all places; ``places`` are the same as data."""

    def __init__(self, places: Iterable[Place]) -> None:
        """Keep the places in their order."""
        self.places = list(places)
        super().__init__("; ".join(f"{'.'.join(map(str, one['loc'])) or 'data'}: {one['msg']}" for one in self.places))


def placed(problem: str) -> Place:
    """Return ``escalate.0.fire: too low`` as a place and what is wrong there."""
    where, _, what = problem.partition(": ")
    return {"loc": [int(part) if part.isdecimal() else part for part in where.split(".")], "msg": what}
