"""The OpenAPI document and the page that shows it."""

import re
from importlib.metadata import version
from typing import Any

import pytest

from api_kit import Api, document
from infrastructure.settings import ServerSettings
from infrastructure.web.app import create_web_app
from infrastructure.web.docs_page import FILES
from openapi_check import Document


@pytest.fixture(scope="module")
def described() -> Document:
    return document(create_web_app(lambda: pytest.fail("the document asks no service"), ServerSettings()))


def examples(holder: dict[str, Any], found: Document) -> list[Any]:
    """Return the examples of a media type or parameter: its own, or its schema's."""
    if "example" in holder:
        return [holder["example"]]
    if "examples" in holder:
        return [example["value"] for example in holder["examples"].values()]
    schema = found.resolve(holder["schema"])
    for part in schema.get("allOf", ()):
        schema = {**found.resolve(part), **schema}
    return [schema[word] for word in ("example", "default") if word in schema][:1] or schema.get("enum", [])[:1]


def test_each_operation_is_described_with_examples_that_fit(described: Document) -> None:
    operations = list(described.operations())
    assert len(operations) > 12
    for method, path, operation in operations:
        where = f"{method} {path}"
        assert operation["summary"], where
        assert len(operation["description"]) > 40, where
        assert len(operation["tags"]) == 1, where
        holders = {"requestBody": operation.get("requestBody", {}), **operation["responses"]}
        for name, holder in holders.items():
            for kind, media in holder.get("content", {}).items():
                shown = examples(media, described)
                assert shown, f"{where} {name} has no example"
                for example in shown:
                    assert described.errors(example, media["schema"]) == [], f"{where} {name} {kind}"


def test_each_parameter_is_described_with_an_example_that_fits(described: Document) -> None:
    for method, path, operation in described.operations():
        for parameter in operation.get("parameters", ()):
            where = f"{method} {path} {parameter['name']}"
            assert parameter.get("description"), where
            if parameter["name"] != "last-event-id":
                assert examples(parameter, described), where
            for example in examples(parameter, described):
                assert described.errors(example, parameter["schema"]) == [], where


def test_each_operation_says_which_role_it_takes_and_what_may_go_wrong(described: Document) -> None:
    for method, path, operation in described.operations():
        if path.startswith("/health"):
            assert "security" not in operation
            continue
        assert operation["security"] == [{"api_key": []}]
        assert re.search(r"role `(viewer|operator|admin)`", operation["description"])
        if path == "/metrics":  # takes no parameters, and answers also while the store is away
            assert {"401", "403", "500"} <= set(operation["responses"])
            continue
        assert {"401", "403", "422", "500", "503"} <= set(operation["responses"]), (method, path)
        if "{id}" in path and (method, path) != ("PUT", "/api/v1/alert-rules/{id}"):  # which makes what is not there
            assert "404" in operation["responses"], (method, path)


def test_problems_are_told_as_problems(described: Document) -> None:
    kinds = set()
    for _, _, operation in described.operations():
        for status, response in operation["responses"].items():
            for kind, media in response.get("content", {}).items():
                if status >= "400" and kind == "application/problem+json":
                    assert media["schema"] == {"$ref": "#/components/schemas/Problem"}
                    kinds |= {example["value"]["type"] for example in media["examples"].values()}
                    assert {example["value"]["status"] for example in media["examples"].values()} == {int(status)}
    assert "urn:roundsman:problem:schedule-not-found" in kinds
    assert "HTTPValidationError" not in described.schemas


def test_the_document_is_what_swagger_ui_4_reads(described: Document) -> None:
    assert re.fullmatch(r"3\.0\.\d", described.root["openapi"])

    def walk(schema: Any) -> None:
        if isinstance(schema, dict):
            assert schema.get("type") != "null"
            assert "const" not in schema
            assert not isinstance(schema.get("exclusiveMinimum"), int) or schema["exclusiveMinimum"] is True
            for name, part in schema.items():
                if name not in ("example", "default", "enum"):
                    walk(part)
        elif isinstance(schema, list):
            for part in schema:
                walk(part)

    walk(described.schemas)


def test_the_version_is_that_of_the_package(described: Document) -> None:
    assert described.root["info"]["version"] == version("roundsman")


def test_every_schema_is_used_and_every_reference_leads_somewhere(described: Document) -> None:
    used = set(re.findall(r"#/components/schemas/(\w+)", repr(described.root)))
    assert used == set(described.schemas)


async def test_the_page_and_all_it_needs_come_from_this_server(redis_url: str, namespace: str) -> None:
    async with Api(redis_url, namespace) as api:
        page = await api.get("/docs")
        assert page.headers["content-type"].startswith("text/html")
        policy = page.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "http" not in policy
        assert not re.search(r"(https?:)?//", page.text.replace("<!DOCTYPE html>", ""))
        for place in re.findall(r'(?:src|href)="([^"]+)"', page.text):
            part = await api.get(place)
            assert part.status_code == 200
            assert len(part.content) > 100
        script = (await api.get("/docs/start.js")).text
        assert "http" not in script
        assert "validatorUrl: null" in script
        types = {name: (await api.get(f"/docs/{name}")).headers["content-type"].partition(";")[0] for name in FILES}
        assert types == FILES
        document = (await api.get("/openapi.json")).json()
        assert document["servers"] == [{"url": "/"}]


@pytest.mark.parametrize(
    "name", ["index.html", "swagger-initializer.js", "..%2f..%2f__init__.py", "%2e%2e/openapi.py", "x"]
)
async def test_no_other_file_is_sent(redis_url: str, namespace: str, name: str) -> None:
    async with Api(redis_url, namespace) as api:
        assert (await api.get(f"/docs/{name}")).status_code == 404
