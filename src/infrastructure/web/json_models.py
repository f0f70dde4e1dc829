"""What all JSON models of the API have in common."""

from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

T = TypeVar("T")


def _show_no_null(schema: dict[str, Any]) -> None:
    """Leave null and the default out of a field's schema: it is either there with a value or not there."""
    schema.pop("default", None)
    parts = [part for part in schema.pop("anyOf", ()) if part != {"type": "null"}]
    schema.update(parts[0] if len(parts) == 1 else {"anyOf": parts})


LeftOut = Annotated[T | None, Field(json_schema_extra=_show_no_null)]
"""A field that may be left out, and is None then."""


def example(value: Any, **more: Any) -> ConfigDict:
    """Return the configuration of a model that the document shows with this example."""
    return ConfigDict(json_schema_extra={"examples": [value], **more})


class Body(BaseModel):
    """A request body: what it does not know it refuses."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Patch(Body):
    """A body that names what changes. Null is no way to leave a field out."""

    @model_validator(mode="before")
    @classmethod
    def _no_nulls(cls, given: Any) -> Any:
        if isinstance(given, dict):
            for field in cls.model_fields.keys() & given.keys():
                if given[field] is None:
                    raise ValueError(f"{field} cannot be null; leave it out to keep it")
        return given
