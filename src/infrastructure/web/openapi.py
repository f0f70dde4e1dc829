"""The OpenAPI document, in version 3.0: what the bundled Swagger UI and most generators read.

pydantic writes JSON Schema 2020-12, which is OpenAPI 3.1; what 3.0 says in other words is translated here.
"""

from collections.abc import Iterator
from typing import Any

from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute, RouteContext, iter_route_contexts

from domain.monitoring.sample import MetricSample
from infrastructure.web.access import Requires
from infrastructure.web.examples import EXAMPLES
from infrastructure.web.problems import Problem

Schema = dict[str, Any]

VERSION = "3.0.3"
BEHIND_VALIDATORS = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum"}
"""How pydantic names a bound that follows a validator, and how JSON Schema does."""
REF = "#/components/schemas/{model}"

DESCRIPTION = """\
Background jobs of this program and the monitoring of workers that is built with them.

**Conventions.** JSON in UTF-8, names in snake_case. Times are RFC 3339 in UTC; send them with a timezone. Durations are
seconds and end in `_s`; utilisation is a fraction from 0 to 1. Lists answer `{"items": […], "next_cursor": …}`. Unknown
fields and parameters are refused, so that a typo does nothing instead of something else. A 2xx for a change means that
it is in the store.

**Errors** are `application/problem+json` (RFC 9457). Branch on `type`, which does not change; read `detail`. A 422
names each wrong part in `errors`. After a 503 with `Retry-After` try again: the store did not answer, and a change may
or may not have been made.

**Keys.** With no key configured only this machine is served, and whoever calls may do everything. With keys, send
`Authorization: Bearer <key>`. A `viewer` reads; an `operator` also makes, changes and stops schedules and monitoring,
submits, cancels and retries jobs, changes alert rules, acknowledges and silences alerts, and tries channels; an `admin`
also registers, changes and removes workers. `/health/live`, `/health/ready` and `/health/queue` are open to all, the
latter two without details; `/metrics` takes a `viewer`; this document is open too.
"""

TAGS = [
    {"name": "schedules", "description": "Background jobs that run again and again."},
    {"name": "jobs", "description": "Background jobs that run once: submit them, follow them, believe the answer."},
    {"name": "workers", "description": "The machines that are watched."},
    {"name": "monitoring", "description": "Watching a worker: a schedule that collects its metrics."},
    {"name": "alerts", "description": "What is wrong with the workers now, and was."},
    {"name": "alert rules", "description": "What is wrong with a worker, and when."},
    {"name": "silences", "description": "Times in which nothing is told of some alerts."},
    {"name": "channels", "description": "Where alerts are sent, and what became of what was sent."},
    {"name": "instances", "description": "The processes of the program that share the store."},
    {"name": "audit", "description": "Who asked for what, and when."},
    {"name": "events", "description": "What happens, as it happens."},
    {"name": "health", "description": "How the program itself is doing."},
]


def make_document(app: FastAPI) -> Schema:
    """Return the document of ``app``."""
    document = get_openapi(
        title=app.title,
        version=app.version,
        openapi_version=VERSION,
        description=app.description,
        tags=app.openapi_tags,
        routes=app.routes,
    )
    schemas = document["components"]["schemas"]
    for model in (Problem, MetricSample):  # FastAPI has not seen the one, and only the serialiser of the other
        schemas[model.__name__] = model.model_json_schema(ref_template=REF)
        schemas.update(schemas[model.__name__].pop("$defs", {}))
    for name, value in EXAMPLES.items():
        schemas[name]["examples"] = [value]
    for route in iter_route_contexts(app.routes):
        if isinstance(route.original_route, APIRoute) and route.include_in_schema:
            _show_examples(schemas, route)
            _show_role(document["paths"][route.path], route)
    for holder, key in _schema_places(document):
        holder[key] = schema_30(holder[key])
    return document


def required_role(dependant: Dependant) -> str | None:
    """Return the role that a route asks for."""
    roles = [found.call.role for found in dependant.dependencies if isinstance(found.call, Requires)]
    return roles[0] if roles else None


def _show_examples(schemas: Schema, route: RouteContext) -> None:
    """Put the examples of answers back: FastAPI drops what is null in them."""
    for model in (route.response_model, *(answer.get("model") for answer in route.responses.values())):
        extra = getattr(model, "model_config", {}).get("json_schema_extra", {})
        if "examples" in extra:
            schemas[model.__name__]["examples"] = extra["examples"]


def _show_role(operations: Schema, route: RouteContext) -> None:
    if role := required_role(route.dependant):
        for method in route.methods or ():
            operations[method.lower()]["description"] += f"\n\nTakes a key with the role `{role}` or above."


def _schema_places(document: Schema) -> Iterator[tuple[Schema, str]]:
    """Yield where the document holds a schema."""
    schemas = document["components"]["schemas"]
    yield from ((schemas, name) for name in schemas)
    for operations in document["paths"].values():
        for operation in operations.values():
            yield from ((parameter, "schema") for parameter in operation.get("parameters", ()))
            bodies = [operation.get("requestBody", {}), *operation["responses"].values()]
            for media in (media for body in bodies for media in body.get("content", {}).values()):
                if "schema" in media:
                    yield media, "schema"


def schema_30(schema: Schema) -> Schema:
    """Return a schema of JSON Schema 2020-12, as pydantic writes it, in the words of OpenAPI 3.0."""
    found = {key: value for key, value in schema.items() if key not in ("propertyNames", "patternProperties")}
    for key in ("anyOf", "oneOf", "allOf"):
        if key in found:
            found[key] = [schema_30(part) for part in found[key]]
    if "properties" in found:
        found["properties"] = {name: schema_30(part) for name, part in found["properties"].items()}
    for key in ("items", "additionalProperties"):
        if isinstance(found.get(key), dict):
            found[key] = schema_30(found[key])
    for part in schema.get("patternProperties", {}).values():
        found["additionalProperties"] = schema_30(part)
    return _with_plain_reference(_nullable(_renamed(found)))


def _renamed(schema: Schema) -> Schema:
    if "const" in schema:
        schema["enum"] = [schema.pop("const")]
    if "examples" in schema:
        schema["example"] = schema.pop("examples")[0]
    for plain, bound in BEHIND_VALIDATORS.items():
        if plain in schema:
            schema[bound] = schema.pop(plain)
    for exclusive, bound in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if exclusive in schema:
            schema[bound], schema[exclusive] = schema[exclusive], True
    return schema


def _nullable(schema: Schema) -> Schema:
    """Say "or null" as 3.0 does."""
    parts = schema.get("anyOf", [])
    others = [part for part in parts if part.get("type") != "null"]
    if len(others) == len(parts):
        return schema
    rest = {key: value for key, value in schema.items() if key != "anyOf"}
    if len(others) > 1:
        return {"anyOf": others, "nullable": True, **rest}
    return {**others[0], **rest, "nullable": True}


def _with_plain_reference(schema: Schema) -> Schema:
    """Put a reference that has company into ``allOf``: 3.0 ignores what stands beside it."""
    if "$ref" in schema and len(schema) > 1:
        return {"allOf": [{"$ref": schema["$ref"]}], **{key: value for key, value in schema.items() if key != "$ref"}}
    return schema
