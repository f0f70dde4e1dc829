"""Say what is wrong with settings, one line each: which key, what is wrong, what was found and where."""

import re
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from infrastructure.monitoring.channels.settings import CHANNEL_TYPES
from infrastructure.settings_sources import Sources, nearest

SECRET_KEYS = {
    "api_keys",
    "channels",
    "redis_url",
    "redis_url_file",
    "sentinel_password",
    "sentinel_password_file",
    "tls_key_password",
    "tls_key_password_file",
}
LONGEST_QUOTE = 60
WORDS = {
    "Input should be": "must be",
    "Field required": "is missing",
    "String should": "must",
    "a valid tuple": "a list",
}


def describe(error: ValidationError, sources: Sources, root: type[BaseModel]) -> list[str]:
    """Return one line for each thing that pydantic found; secrets are not quoted."""
    return [_without_users(_line(detail, sources, root)) for detail in error.errors(include_url=False)]


def _line(detail: ErrorDetails, sources: Sources, root: type[BaseModel]) -> str:
    where = _without_tags(detail["loc"])
    if detail["type"] == "extra_forbidden":
        return _unknown_key(where, sources, root)
    text = " ".join(detail["msg"].removeprefix("Value error, ").split())
    if detail["type"] in ("model_type", "dict_type"):
        text = "must be a table"
    for theirs, ours in WORDS.items():
        text = text.replace(theirs, ours)
    line = f"{_dotted(where)}: {text}"
    if detail["type"] not in ("missing", "value_error") and not SECRET_KEYS.intersection(where):
        line += f"; got {_quote(detail['input'])}"
    return f"{line} ({_origin(where, sources)})"


def _without_tags(where: tuple[int | str, ...]) -> tuple[int | str, ...]:
    """Leave out the type of a channel, which pydantic puts behind its place in the list."""
    is_tag = len(where) > 3 and where[1] == "channels" and where[3] in CHANNEL_TYPES
    return (*where[:3], *where[4:]) if is_tag else where


def _unknown_key(where: tuple[int | str, ...], sources: Sources, root: type[BaseModel]) -> str:
    *parents, name = where
    known = _names(_model_at(root, parents))
    elsewhere = {inner: section for section in root.model_fields for inner in _names(_model_at(root, [section]))}
    if meant := nearest(str(name), known):
        hint = f"did you mean {meant}?"
    elif not parents and (meant := nearest(str(name), list(elsewhere))):
        hint = f"did you mean {meant} in [{elsewhere[meant]}]?"
    else:
        hint = f"known there: {', '.join(known)}"
    return f"{_dotted(where)} is not known: {hint} ({_origin(where, sources)})"


def _model_at(model: type[BaseModel], where: list[int | str]) -> type[BaseModel] | None:
    """Return the model of the table at ``where``, looking into lists; None where there is no table."""
    found: Any = model
    for step in where:
        if isinstance(step, int):
            found = next(iter(get_args(found)), None)
        elif isinstance(found, type) and issubclass(found, BaseModel) and step in found.model_fields:
            found = found.model_fields[step].annotation
    return found if isinstance(found, type) and issubclass(found, BaseModel) else None


def _names(model: type[BaseModel] | None) -> list[str]:
    return [*model.model_fields, *getattr(model, "from_files", ())] if model else []


def _dotted(where: tuple[int | str, ...]) -> str:
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in where).lstrip(".")


def _origin(where: tuple[int | str, ...], sources: Sources) -> str:
    return f"in {sources.origin(tuple(step for step in where if isinstance(step, str)))}"


def _quote(value: object) -> str:
    """Return a value as it was written, cut short; lists and tables may have anything in them, and are not quoted."""
    if isinstance(value, list | tuple | dict):
        return "a table" if isinstance(value, dict) else "a list"
    text = _without_users(repr(value))
    return text if len(text) <= LONGEST_QUOTE else text[:LONGEST_QUOTE] + "…"


def _without_users(text: str) -> str:
    """Hide user and password of a URL: it may stand where nobody expects one. A path loses one of its slashes."""
    return re.sub(r"(\w:/{1,2})\S*@", r"\1…@", text)
