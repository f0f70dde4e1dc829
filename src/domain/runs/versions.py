"""Versions of a payload: how data that an older version of a job stored becomes data that the present one takes."""

import copy
import inspect
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from domain.runs.errors import JobDefinitionError, NotUpgraded

Upgrade = Callable[[int, dict[str, Any]], dict[str, Any]]

MOST_OLDER_VERSIONS = 20
"""Each version that a class takes is a lane of its own, into which every pass looks."""


def find_upgrade(cls: type, name: str, version: int) -> Upgrade | None:
    """Return the class's ``upgrade``; None without one. Raise ``JobDefinitionError`` for one that cannot be called.

    In version 1 there is nothing to upgrade from, and a field may have that name in any version.
    """
    found = inspect.getattr_static(cls, "upgrade", None)
    is_function = inspect.isfunction(found) or isinstance(found, classmethod | staticmethod)
    if version == 1 or not is_function:
        return None
    how = "write @classmethod def upgrade(cls, version: int, data: dict) -> dict"
    if not isinstance(found, classmethod):
        raise JobDefinitionError(job=name, why=f"its upgrade is no classmethod; {how}, or call it something else")
    upgrade: Upgrade = cls.upgrade  # type: ignore[attr-defined]  # that it is there was asked above
    if inspect.iscoroutinefunction(upgrade):
        raise JobDefinitionError(job=name, why=f"its upgrade is async; it works on data alone: {how}")
    try:
        inspect.signature(upgrade).bind(1, {})
    except TypeError as error:
        raise JobDefinitionError(job=name, why=f"its upgrade cannot be called ({error}); {how}") from None
    return upgrade


def versions_taken(name: str, version: int, upgrade: Upgrade | None, upgrades_from: Any) -> range:
    """Return the versions of its payload that a class takes, its own the last; raise ``JobDefinitionError``."""
    if upgrade is None:
        if upgrades_from is not None:
            why = f"upgrades_from is {upgrades_from!r}, and it has no older version, or no upgrade(version, data)"
            raise JobDefinitionError(job=name, why=why)
        return range(version, version + 1)
    oldest = 1 if upgrades_from is None else upgrades_from
    if type(oldest) is not int or not 1 <= oldest < version:
        why = f"upgrades_from is {oldest!r}; it is the oldest version that upgrade takes, 1 to {version - 1}"
        raise JobDefinitionError(job=name, why=why)
    if version - oldest > MOST_OLDER_VERSIONS:
        why = (
            f"its upgrade would take {version - oldest} older versions, and {MOST_OLDER_VERSIONS} are allowed; "
            f"say upgrades_from=…, the oldest that may still be in the store"
        )
        raise JobDefinitionError(job=name, why=why)
    return range(oldest, version + 1)


def upgraded(upgrade: Upgrade, job: str, data: Any, version: int, known: int) -> dict[str, Any]:
    """Return what ``upgrade`` makes of a copy of ``data``; raise ``NotUpgraded`` if it raises, or gives no dict."""
    try:
        made: Any = upgrade(version, copy.deepcopy(data))
    except Exception as error:  # whatever an author's code raises
        said = f"its upgrade raised {type(error).__name__}{_said(error)} ({_where(error)})"
        raise NotUpgraded(name=job, version=version, known=known, why=said) from error
    if not isinstance(made, dict):
        said = f"its upgrade returned {type(made).__name__}, and not a dict of all data fields"
        raise NotUpgraded(name=job, version=version, known=known, why=said)
    return made


def _said(error: Exception) -> str:
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 - its __str__ may be as broken as the rest
        return ""
    return f": {text}" if text else ""


def _where(error: Exception) -> str:
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{Path(frame.filename).name}, line {frame.lineno}"
