"""Write the pages of docs/reference that are made from the code: ``make_reference.py``, or ``--check`` to compare only.

Settings come from ``settings.toml``, commands from their help, the HTTP API from its OpenAPI document, descriptors,
triggers and policies from their models. Exits with 1 when ``--check`` finds a page that is not what the code makes.
"""

import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args, get_origin

ROOT = Path(__file__).resolve().parent.parent
REFERENCE = ROOT / "docs/reference"
NOTE = "<!-- made by scripts/make_reference.py; a test compares -->\n"
SETTINGS = """\
Read from `settings.toml` in the working directory, or from the file that `ROUNDSMAN_CONFIG` names; a variable in the
environment wins. Lists and tables are JSON there. Everything is checked before anything starts, and an unknown key is
an error; `roundsman check` checks and starts nothing. Names end in the unit: `_s` seconds, `_h` hours.
"""
SCHEDULES = """\
What `bus.schedule_task` takes, and what `@backgroundjob` may say. They are pydantic models: a value that does not fit
is refused to whoever makes it, an unknown field too. Over HTTP the trigger and the policy of a schedule have the same
fields, in `trigger` and `policy`, and an interval is called `interval_s`. Durations are seconds, times have a timezone.
What to take when: [choose a trigger](../how-to/choose-a-trigger.md).
"""
MODELS = (
    "RecurrentTaskDescriptor",
    "CalendarInterval",
    "TriggerPart",
    "SchedulePolicy",
    "ScheduledTaskDescriptor",
    "RetryPolicy",
)
KINDS_IN_WORDS = {
    "integer": "whole number",
    "number": "number",
    "string": "text",
    "boolean": "true or false",
    "object": "table",
    "date": "date",
    "date-time": "time",
}
"""The types of JSON, and its formats of times."""
WIDTH = 120
"""Columns of a terminal in which the help is written."""


def main(*args: str) -> int:
    """Write or compare all pages; return the exit status."""
    REFERENCE.mkdir(exist_ok=True)
    made = pages()
    stale = [name for name, text in made.items() if not _is_there(REFERENCE / name, text)]
    for name in stale:
        if "--check" in args:
            print(f"docs/reference/{name} is not what the code makes: make docs")
        else:
            (REFERENCE / name).write_text(made[name])
            print(f"docs/reference/{name} written")
    return 1 if stale and "--check" in args else 0


def pages() -> dict[str, str]:
    """Return the text of each page by its name."""
    made = {"settings.md": settings_page, "cli.md": cli_page, "api.md": api_page, "schedules.md": schedules_page}
    return {name: "\n".join(make()).rstrip("\n") + "\n" for name, make in made.items()}


def _is_there(file: Path, text: str) -> bool:
    return file.exists() and file.read_text() == text


def settings_page() -> Iterator[str]:
    """Yield the page of settings: what ``settings.toml`` says of each key, in its order."""
    yield "# Settings\n"
    yield NOTE
    yield SETTINGS
    section = ""
    lines = (ROOT / "settings.toml").read_text().splitlines()
    said: list[str] = []
    for line in lines[lines.index("") :]:  # what stands before the first empty line is about the file
        if line.startswith("["):
            yield from _settings_section(section := line.strip("[]"), said)
            said = []
        elif line.startswith("#"):
            said.append(line.removeprefix("#").removeprefix(" "))
        elif line:
            yield from _setting(section, *line.split(" = ", 1), said)
            said = []
        elif said:  # a comment that belongs to no key: what may be written instead of a default
            yield from _settings_text(said)
            said = []


def _settings_section(name: str, said: list[str]) -> Iterator[str]:
    yield f"## [{name}]\n"
    yield from _settings_text(said)


def _setting(section: str, key: str, default: str, said: list[str]) -> Iterator[str]:
    variable = "ROUNDSMAN_" + (f"{section.replace('.', '__')}__{key}" if section else key).upper()
    yield f"### {section + '.' if section else ''}{key}\n"
    yield f"Default `{default}`; in the environment `{variable}`.\n"
    yield from _settings_text([line.replace(f" {variable}", "") for line in said], section)


def _settings_text(said: list[str], section: str = "") -> Iterator[str]:
    """Yield a comment as Markdown: what is further in is code of ``section``."""
    code = [line.removeprefix("  ") for line in said if line.startswith("  ")]
    text = [line for line in said if not line.startswith("  ")]
    if text:
        yield "\n".join(text) + "\n"
    if code:
        yield "\n".join(["```toml", *([f"[{section}]"] if section else []), *code, "```\n"])


def cli_page() -> Iterator[str]:
    """Yield the page of commands: the help of each."""
    import typer.main

    from infrastructure.cli.app import create_cli

    yield "# Commands\n"
    yield NOTE
    yield "What `--help` says of each. [How to operate with them](../how-to/operate-with-the-cli.md) shows some.\n"
    command = typer.main.get_command(create_cli(lambda **_: 0, lambda **_: 0))
    yield from _command(command, "roundsman", None)


def _command(command: Any, name: str, parent: Any) -> Iterator[str]:
    context = command.make_context(
        name.rpartition(" ")[2],
        [],
        parent=parent,
        resilient_parsing=True,
        terminal_width=WIDTH,
        max_content_width=WIDTH,
    )
    yield f"## {name}\n" if parent is None or parent.parent is None else f"### {name}\n"
    yield "\n".join(["```text", command.get_help(context).rstrip(), "```\n"])
    for word, part in getattr(command, "commands", {}).items():
        if not part.hidden:
            yield from _command(part, f"{name} {word}", context)


def api_page() -> Iterator[str]:
    """Yield the page of the HTTP API: each operation of its OpenAPI document."""
    from infrastructure.settings import ServerSettings
    from infrastructure.web.app import create_web_app

    app = create_web_app(_no_services, ServerSettings())
    document = app.openapi()
    yield "# HTTP API\n"
    yield NOTE
    yield "The program itself has this with every schema and example: `/docs` to read, `/openapi.json` for machines.\n"
    yield document["info"]["description"].strip() + "\n"
    for tag in document["tags"]:
        yield f"## {tag['name'].capitalize()}\n"
        yield tag["description"] + "\n"
        for path, operations in document["paths"].items():
            for method, operation in operations.items():
                if operation["tags"] == [tag["name"]]:
                    yield from _operation(method, path, operation)


def _no_services() -> Any:
    raise RuntimeError("the document asks no service")


def _operation(method: str, path: str, operation: dict[str, Any]) -> Iterator[str]:
    yield f"### {method.upper()} {path}\n"
    yield f"**{operation['summary']}.** {operation['description'].strip()}\n"
    rows = [
        f"| `{one['name']}` | {one['in']}{'' if one.get('required') else ', optional'} | {_cell(one['description'])} |"
        for one in operation.get("parameters", ())
    ]
    rows += (
        [f"| body | {', '.join(operation['requestBody']['content'])} | `{_schema(operation)}` |"]
        if "requestBody" in operation
        else []
    )
    if rows:
        yield "\n".join(["| Parameter | Where | What |", "|---|---|---|", *rows]) + "\n"
    answers = [f"| {status} | {_cell(answer['description'])} |" for status, answer in operation["responses"].items()]
    yield "\n".join(["| Status | What it means |", "|---|---|", *answers]) + "\n"


def _schema(operation: dict[str, Any]) -> str:
    (media, *_) = operation["requestBody"]["content"].values()
    return str(media["schema"].get("$ref", "object")).rpartition("/")[2]


def schedules_page() -> Iterator[str]:
    """Yield the page of what can be scheduled: each model of it, with its fields."""
    from application import scheduling

    yield "# Schedules, triggers, policies\n"
    yield NOTE
    yield SCHEDULES
    for name in MODELS:
        model = getattr(scheduling, name)
        yield f"## {name}\n"
        yield _docstring(model) + "\n"
        yield "\n".join(["| Field | Type | Default | What |", "|---|---|---|---|", *_fields(model)]) + "\n"
    yield "## backgroundjob\n"
    yield _docstring(scheduling.backgroundjob) + "\n"
    parameters = inspect.signature(scheduling.backgroundjob).parameters.values()
    rows = [f"| `{one.name}` | `{_written(one)}` | {_default(one.default)} |" for one in parameters]
    yield "\n".join(["| Option | Type | Default |", "|---|---|---|", *rows]) + "\n"


def _docstring(thing: Any) -> str:
    return (inspect.getdoc(thing) or "").replace("``", "`")


def _written(parameter: inspect.Parameter) -> str:
    types = [kind for kind in get_args(parameter.annotation) or [parameter.annotation] if kind is not NoneType]
    kinds = [getattr(kind, "__name__", str(kind)) for kind in types]
    return ", ".join(f'"{kind}"' if get_origin(parameter.annotation) is Literal else kind for kind in kinds)


def _default(value: Any) -> str:
    return "needed" if value is inspect.Parameter.empty else "none" if value is None else f"`{value!r}`"


def _fields(model: Any) -> Iterator[str]:
    schema = model.model_json_schema()
    for name, field in schema["properties"].items():
        if "const" not in field:
            default = "needed" if name in schema.get("required", ()) else _shown(field.get("default"))
            yield f"| `{name}` | {_type(field)} | {default} | {_cell(field['description'])} |"


def _shown(default: Any) -> str:
    return (
        "none" if default is None or default == {} else "its defaults" if isinstance(default, dict) else f"`{default}`"
    )


def _type(field: dict[str, Any]) -> str:
    """Return the type of a field and its bounds, in words."""
    field = next((one for one in field.get("anyOf", ()) if one.get("type") != "null"), field)
    if "$ref" in field:
        return _linked(field["$ref"])
    if field.get("type") == "array":
        return f"{field['minItems']} to {field['maxItems']} {_linked(field['items']['$ref'])}"
    said = KINDS_IN_WORDS.get(field.get("format", ""), KINDS_IN_WORDS[field["type"]])
    if "enum" in field:
        return ", ".join(f"`{one}`" for one in field["enum"])
    low, high = field.get("minimum", field.get("exclusiveMinimum")), field.get("maximum")
    if high is not None:
        return f"{said}, {'above ' if 'exclusiveMinimum' in field else ''}{low:g} to {int(high) if high > 1 else high}"
    if low is not None:
        return f"{said}, from {low:g}"
    if "maxLength" in field:
        return f"{said}, up to {field['maxLength']} characters"
    return f"{said}, `{_cell(field['pattern'])}`" if "pattern" in field else said


def _linked(reference: str) -> str:
    name = reference.rpartition("/")[2]
    return f"[{name}](#{name.lower()})"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
