"""``roundsman health``: is it up, and what is not."""

from collections.abc import Iterator, Mapping
from typing import Any

import typer

from infrastructure.cli.errors import UNREACHABLE
from infrastructure.cli.options import AsJson, api
from infrastructure.cli.output import Column, field, print_json, print_table, say, shown


def health(ctx: typer.Context, as_json: AsJson = False) -> None:
    """Tell whether the program is ready, and how each of its components is.

    The exit status is 0 when it is ready and 5 when it is not, or cannot be reached.

    \b
    Examples:
      roundsman health
      until roundsman health >/dev/null 2>&1; do sleep 1; done
    """
    with api(ctx) as client:
        answer = client.health()
    if as_json:
        print_json(answer.body)
    else:
        say(f"{'Ready' if answer.status == 200 else 'Not ready'}: {shown(answer.body.get('status'))} ({client.shown})")
        rows = list(_components(answer.body.get("components")))
        print_table(
            rows,
            [Column("COMPONENT", field("name")), Column("STATE", field("state")), Column("DETAIL", field("detail"))],
            "It names no components.",
        )
    if answer.status != 200:
        raise typer.Exit(UNREACHABLE)


def _components(components: object) -> Iterator[dict[str, Any]]:
    """Yield name, state and the rest of each component, whether they come as a list or by name."""
    if isinstance(components, Mapping):
        components = [
            {"name": name, **(known if isinstance(known, Mapping) else {"state": known})}
            for name, known in components.items()
        ]
    for component in components if isinstance(components, list) else []:
        if isinstance(component, Mapping):
            yield _component(component)


def _component(component: Mapping[str, Any]) -> dict[str, Any]:
    state = next((component[key] for key in ("status", "state") if key in component), None)
    facts = component.get("facts")
    known = {
        name: value for name, value in component.items() if name not in ("name", "status", "state", "facts", "detail")
    }
    known |= facts if isinstance(facts, Mapping) else {}
    said = [str(component["detail"])] if component.get("detail") else []
    said += [f"{name}: {shown(value)}" for name, value in known.items() if value is not None]
    return {"name": component.get("name"), "state": state, "detail": ", ".join(said)}
