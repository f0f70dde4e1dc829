"""Which workers and alerts something is about: labels that are equal, and ids with wildcards."""

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Annotated

from pydantic import Field, StringConstraints

from domain.monitoring.worker import MAX_LABELS, LabelName, LabelValue

OneOf = Annotated[tuple[LabelValue, ...], Field(min_length=1, max_length=100)]

Selector = Annotated[dict[LabelName, LabelValue | OneOf], Field(max_length=MAX_LABELS)]
"""Label → its value, or the list of values of which it has one."""

Pattern = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9*?][A-Za-z0-9._:*?~%/\-]{0,400}$")]
"""An id, in which ``*`` stands for any characters and ``?`` for one."""

Patterns = Annotated[tuple[Pattern, ...], Field(max_length=100)]


def has_all(labels: Mapping[str, str], wanted: Mapping[str, str | tuple[str, ...]]) -> bool:
    """Tell whether every label that is wanted is there with a value that is wanted; nothing wanted is always had."""
    return all(_is_one_of(labels.get(name), value) for name, value in wanted.items())


def has_any(labels: Mapping[str, str], unwanted: Mapping[str, str | tuple[str, ...]]) -> bool:
    """Tell whether one of these labels is there with one of these values."""
    return any(_is_one_of(labels.get(name), value) for name, value in unwanted.items())


def fits_one(name: str, patterns: tuple[str, ...]) -> bool:
    """Tell whether ``name`` is what one of the patterns says; no patterns are no condition."""
    return not patterns or any(fnmatchcase(name, pattern) for pattern in patterns)


def _is_one_of(value: str | None, wanted: str | tuple[str, ...]) -> bool:
    return value is not None and (value == wanted if isinstance(wanted, str) else value in wanted)
