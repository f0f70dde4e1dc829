"""No request breaks a route: each operation of the OpenAPI document is asked for what it describes, and for what not.

Every answer is held against the document, as in all tests of the API; a 500 is in no operation's favour.
"""

import json
import random
import string
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import pytest

from api_kit import Api, document
from infrastructure.settings import ServerSettings
from infrastructure.web.app import create_web_app
from openapi_check import Document

ASKED = 15
"""How often each operation is asked, with another seed each."""
ODD: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2**31, 2**63, 2**64, 10**40, 0.0, -0.5, 1e308, 5e-324),
    *("", " ", "a", "0", "null", "true", "*", "%", "..", "a" * 300, "x\ny", "\x00", "\u202e", "é", "\U0001f980", "-1"),
    *("2026-11-24T08:00:00Z", "2026-11-24T08:00:00", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z", "tomorrow"),
    *([], {}, [[]], {"a": {}}, [None], {"": None}, [1, "a", {}]),
)
ENDLESS = "/events"
"""Streams, which other tests follow."""


class Asker:
    """Make requests of a document at random; the same seed makes the same ones."""

    def __init__(self, described: Document, seed: int) -> None:
        self._described = described
        self._random = random.Random(seed)  # noqa: S311 - what is asked must be the same each time

    def request(self, path: str, operation: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """Return a path with its parameters, and what else is sent."""
        query: dict[str, str] = {}
        headers: dict[str, str] = {}
        for parameter in operation.get("parameters", ()):
            text = self._text(self.value(parameter["schema"]))
            if parameter["in"] == "path":
                path = path.replace(f"{{{parameter['name']}}}", quote(text or "x", safe=""))
            elif parameter["in"] == "query" and self._random.random() < 0.4:
                query[parameter["name"]] = text
            elif parameter["in"] == "header" and self._random.random() < 0.3:
                headers[parameter["name"]] = quote(text, safe=string.punctuation)[:300]
        sent: dict[str, Any] = {"params": query, "headers": headers}
        if "requestBody" in operation:
            schema = operation["requestBody"]["content"]["application/json"]["schema"]
            sent |= {"content": json.dumps(self.value(schema)).encode()}
            sent["headers"]["Content-Type"] = "application/json"
        return path, sent

    def value(self, schema: dict[str, Any], depth: int = 0) -> Any:
        """Return a value that a schema describes; sometimes, anywhere in it, one that it does not."""
        if self._random.random() < (0.04 if depth else 0.1) or depth > 6:
            return self._random.choice(ODD)
        schema = self._described.resolve(schema)
        for word in ("anyOf", "oneOf"):
            if word in schema and "properties" not in schema:
                return self.value(self._random.choice(schema[word]), depth + 1)
        if "allOf" in schema:
            return self.value(schema["allOf"][0], depth + 1)
        if "enum" in schema:
            return self._random.choice(schema["enum"])
        if "example" in schema and self._random.random() < 0.5:
            return schema["example"]
        if schema.get("nullable") and self._random.random() < 0.2:
            return None
        return self._typed(schema, depth)

    def _typed(self, schema: dict[str, Any], depth: int) -> Any:
        match schema.get("type"):
            case "object":
                return self._object(schema, depth)
            case "array":
                number = self._random.randint(schema.get("minItems", 0), min(schema.get("maxItems", 3), 3))
                return [self.value(schema.get("items", {}), depth + 1) for _ in range(number)]
            case "boolean":
                return self._random.random() < 0.5
            case "integer" | "number" as kind:
                low, high = schema.get("minimum", -5), schema.get("maximum", 10_000)
                found = self._random.uniform(low, high)
                return self._random.choice([low, high, round(found)]) if kind == "integer" else found
            case "string" if schema.get("format") == "date-time":
                return f"20{self._random.randint(10, 40)}-0{self._random.randint(1, 9)}-15T08:00:00Z"
            case "string":
                return "".join(
                    self._random.choices(string.ascii_letters + string.digits, k=self._random.randint(1, 12))
                )
            case _:
                return self._random.choice(ODD)

    def _object(self, schema: dict[str, Any], depth: int) -> Any:
        known, needed = schema.get("properties", {}), schema.get("required", ())
        found = {
            name: self.value(part, depth + 1)
            for name, part in known.items()
            if name in needed or self._random.random() < 0.4
        }
        more = schema.get("additionalProperties", False)
        if more and self._random.random() < 0.5:
            found["more"] = self.value(more if isinstance(more, dict) else {}, depth + 1)
        return found

    @staticmethod
    def _text(value: Any) -> str:
        return value if isinstance(value, str) else json.dumps(value)


DESCRIBED = document(create_web_app(lambda: pytest.fail("the document asks no service"), ServerSettings()))
TAGS = sorted({operation["tags"][0] for _, path, operation in DESCRIBED.operations() if path.startswith("/api/v1")})


@pytest.fixture
async def api(redis_url: str, namespace: str) -> AsyncIterator[Api]:
    async with Api(redis_url, namespace) as started:
        for name in ("a", "x"):
            await started.post("/schedules", {"id": name, "name": "Note", "trigger": {"interval_s": 3600}})
            await started.post("/workers", {"id": name, "name": name, "provider": "scripted"})
        yield started


@pytest.mark.parametrize("tag", TAGS)
async def test_no_request_breaks_it(api: Api, tag: str) -> None:
    for method, path, operation in DESCRIBED.operations():
        if operation["tags"] != [tag] or not path.startswith("/api/v1") or path.endswith(ENDLESS):
            continue
        for seed in range(ASKED):
            where, sent = Asker(DESCRIBED, seed).request(path, operation)
            answer = await api.call(method, where.removeprefix("/api/v1"), **sent)
            assert answer.status_code < 500, f"seed {seed}: {method} {where} {sent}: {answer.text}"
