"""The data of a job as JSON: checked whole when it is scheduled, and again when it is loaded."""

import json
from dataclasses import MISSING
from typing import Any, NoReturn

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from domain.runs.errors import InvalidData, JobDefinitionError
from domain.runs.fields import DataField

DATA_LIMIT = 262_144
"""Bytes of JSON: data goes into the store, and to an instance with every run. Send a reference to what is bigger."""
LONGEST_CHARACTER = 4
"""Bytes in UTF-8."""
PREFIX = "."
"""Before each field's name within the model, so that a job may call its fields ``copy``, ``json``, ``model_config``."""
MASKED = '"**********"'
"""What pydantic writes for a secret."""

CONFIG = ConfigDict(
    extra="forbid",
    allow_inf_nan=False,
    ser_json_inf_nan="constants",  # where a field takes anything: found and refused below, instead of becoming null
    validate_default=True,
    serialize_by_alias=True,
)


def model_of(job: str, fields: dict[str, DataField]) -> type[BaseModel]:
    """Return the pydantic model of a job's data; raise ``JobDefinitionError`` for a field that does not fit."""
    for name, field in fields.items():
        _check(job, name, field)
    return _model(job, fields)


def dump(model: type[BaseModel], job: str, data: Any) -> str:
    """Validate ``data`` and return its canonical JSON; raise ``InvalidData`` unless it loads again."""
    checker, writer = model.__pydantic_validator__, model.__pydantic_serializer__  # a job costs half of it with these
    try:
        text = writer.to_json(checker.validate_python(data)).decode()
        if "NaN" in text or "Infinity" in text:  # perhaps within a string
            json.loads(text, parse_constant=_refuse_constant)
        checker.validate_json(text)
    except ValidationError as error:
        raise InvalidData(name=job, why=describe(error), errors=places(error)) from None
    except ValueError as error:  # what cannot be written as JSON, though the field's type took it
        raise InvalidData(name=job, why=str(error)) from None
    if MASKED in text:
        why = "it holds a secret, of which JSON keeps only asterisks; inject what knows the secret instead"
        raise InvalidData(name=job, why=why)
    if len(text) * LONGEST_CHARACTER > DATA_LIMIT and (size_bytes := len(text.encode())) > DATA_LIMIT:
        size = f"it has {size_bytes} bytes of JSON, and {DATA_LIMIT} are allowed"
        raise InvalidData(name=job, why=f"{size}; put it elsewhere, and say where")
    return text


def load(model: type[BaseModel], job: str, text: str) -> dict[str, Any]:
    """Return the field values of stored data; raise ``InvalidData`` when the model does not take it."""
    try:
        values = model.model_validate_json(text).__dict__
    except ValidationError as error:
        raise InvalidData(name=job, why=describe(error), errors=places(error)) from None
    return {name[len(PREFIX) :]: value for name, value in values.items()}


def describe(error: ValidationError) -> str:
    """Say each wrong field in one line, without the value: it may be a secret."""
    return "; ".join(f"{'.'.join(map(str, place['loc'])) or 'data'}: {place['msg']}" for place in places(error))


def places(error: ValidationError) -> list[dict[str, Any]]:
    """Return the same as data: where, and what is wrong."""
    return [{"loc": _named(item["loc"]), "msg": item["msg"]} for item in error.errors()]


def _named(loc: tuple[int | str, ...]) -> list[int | str]:
    """Return where an error is, in the job's own names: pydantic gives another one for a wrong default."""
    first, *rest = loc or ("",)
    named = first.removeprefix(PREFIX) if isinstance(first, str) else first
    return [named, *rest] if loc else []


def _model(job: str, fields: dict[str, DataField]) -> type[BaseModel]:
    specs: dict[str, Any] = {PREFIX + name: (field.hint, _default(name, field)) for name, field in fields.items()}
    return create_model(f"{job}Data", __config__=CONFIG, **specs)


def _default(name: str, field: DataField) -> Any:
    if field.default is not MISSING:
        return Field(default=field.default, alias=name)
    if field.default_factory is not MISSING:
        return Field(default_factory=field.default_factory, alias=name)
    return Field(alias=name)


def _check(job: str, name: str, field: DataField) -> None:
    """Try a field by itself, so that the error can name it."""
    try:
        model = _model(job, {name: field})
    except Exception as error:  # pydantic raises many kinds here, and each means the same to the author
        why = (
            f"the field '{name}' cannot travel as JSON ({str(error).splitlines()[0]}); "
            f"if it is a dependency, write {name}: Injected[…]"
        )
        raise JobDefinitionError(job=job, why=why) from error
    if field.default is not MISSING:
        try:
            model.model_validate({})
        except ValidationError as error:
            raise JobDefinitionError(job=job, why=f"the default of '{name}' is not valid: {describe(error)}") from None


def _refuse_constant(constant: str) -> NoReturn:
    raise ValueError(f"it holds {constant}, which JSON does not know")
