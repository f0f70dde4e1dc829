"""Hold values against the schemas of an OpenAPI 3.0 document: the words that ours uses, and an error for any other."""

import re
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

TYPES: dict[str, Callable[[Any], bool]] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
}
WORDS = {
    *("type", "properties", "required", "additionalProperties", "items", "enum", "nullable", "$ref", "format"),
    *("anyOf", "oneOf", "allOf", "pattern", "minLength", "maxLength", "minItems", "maxItems", "maxProperties"),
    *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "title", "description", "default", "example"),
}


class Document:
    """One OpenAPI document."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.root = document
        self.schemas: dict[str, Any] = document["components"]["schemas"]

    def operations(self) -> Iterator[tuple[str, str, dict[str, Any]]]:
        for path, methods in self.root["paths"].items():
            for method, operation in methods.items():
                yield method.upper(), path, operation

    def operation(self, method: str, path: str) -> dict[str, Any] | None:
        """Return the operation that serves a concrete path."""
        for known, template, operation in self.operations():
            pattern = re.sub(r"\{\w+\}", "[^/]+", template)
            if known == method and re.fullmatch(pattern, path):
                return operation
        return None

    def resolve(self, schema: dict[str, Any]) -> dict[str, Any]:
        """Follow a reference."""
        while "$ref" in schema:
            schema = self.schemas[schema["$ref"].rpartition("/")[2]]
        return schema

    def errors(self, value: Any, schema: dict[str, Any], where: str = "$") -> list[str]:
        """Return what is wrong with a value; nothing when the schema allows it."""
        if "$ref" in schema:
            assert set(schema) == {"$ref"}, f"{where}: what stands beside a $ref is ignored"
            return self.errors(value, self.resolve(schema), where)
        assert set(schema) <= WORDS, f"{where}: {set(schema) - WORDS}"
        if value is None and schema.get("nullable"):
            return []
        found = [error for part in schema.get("allOf", ()) for error in self.errors(value, part, where)]
        for word, counts in (("anyOf", lambda n: n >= 1), ("oneOf", lambda n: n == 1)):
            if word in schema:
                tried = [self.errors(value, part, where) for part in schema[word]]
                if not counts(sum(not errors for errors in tried)):
                    found.append(f"{where}: {word}: {tried}")
        if "type" in schema and not TYPES[schema["type"]](value):
            return [*found, f"{where}: {value!r} is no {schema['type']}"]
        if "enum" in schema and value not in schema["enum"]:
            found.append(f"{where}: {value!r} is none of {schema['enum']}")
        return found + list(self._parts(value, schema, where))

    def _parts(self, value: Any, schema: dict[str, Any], where: str) -> Iterator[str]:
        if isinstance(value, dict):
            yield from self._members(value, schema, where)
        elif isinstance(value, list):
            for index, item in enumerate(value):
                yield from self.errors(item, schema.get("items", {}), f"{where}[{index}]")
            yield from _bounds(len(value), schema, "minItems", "maxItems", where)
        elif isinstance(value, str):
            yield from _bounds(len(value), schema, "minLength", "maxLength", where)
            if "pattern" in schema and not re.search(schema["pattern"], value):
                yield f"{where}: {value!r} does not match {schema['pattern']}"
            if schema.get("format") == "date-time" and not value.endswith("Z"):
                yield f"{where}: {value!r} is not UTC with a Z"
            if schema.get("format") == "date-time":
                datetime.fromisoformat(value)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield from _bounds(value, schema, "minimum", "maximum", where)

    def _members(self, value: dict[str, Any], schema: dict[str, Any], where: str) -> Iterator[str]:
        known, rest = schema.get("properties", {}), schema.get("additionalProperties", True)
        yield from (f"{where}: {name} is missing" for name in schema.get("required", ()) if name not in value)
        for name, member in value.items():
            if name in known:
                yield from self.errors(member, known[name], f"{where}.{name}")
            elif rest is False:
                yield f"{where}: {name} is not known"
            elif isinstance(rest, dict):
                yield from self.errors(member, rest, f"{where}.{name}")


def _bounds(value: float, schema: dict[str, Any], low: str, high: str, where: str) -> Iterator[str]:
    if low in schema and (value < schema[low] or (schema.get("exclusiveMinimum") and value == schema[low])):
        yield f"{where}: {value} is below {schema[low]}"
    if high in schema and (value > schema[high] or (schema.get("exclusiveMaximum") and value == schema[high])):
        yield f"{where}: {value} is above {schema[high]}"
