"""``roundsman alerts rules``: what is wrong with a worker, and when."""

from pathlib import Path
from typing import Annotated, Any

import typer

from infrastructure.cli import alert_views as views
from infrastructure.cli.address import path
from infrastructure.cli.completion import rule_ids, worker_ids
from infrastructure.cli.errors import WrongInput
from infrastructure.cli.options import AsJson, Limit, Since, api, given, parse_id
from infrastructure.cli.options import Until as UntilTime
from infrastructure.cli.output import print_facts, print_json, say, show_page
from infrastructure.cli.rule_files import read_rules

rules = typer.Typer(
    rich_markup_mode=None, no_args_is_help=True, help="Alert rules: list, show, make, change, try and remove them."
)
RuleId = Annotated[str, typer.Argument(metavar="ID", parser=parse_id, autocompletion=rule_ids, help="The rule's id.")]
RuleFile = Annotated[
    Path,
    typer.Argument(metavar="FILE", dir_okay=False, allow_dash=True, help="JSON or TOML, - for stdin."),
]
NewId = Annotated[
    str | None, typer.Option("--id", metavar="ID", parser=parse_id, help="Its id, if the file names none or another.")
]


@rules.command("list")
def list_rules(ctx: typer.Context, limit: Limit = None, as_json: AsJson = False) -> None:
    """List the alert rules that hold: those of the settings, and those that were made here.

    \b
    Examples:
      roundsman alerts rules list
      roundsman alerts rules list --json | jq -r '.items[] | select(.read_only | not) | .id'
    """
    with api(ctx) as client:
        show_page(client.pages("/alert-rules", limit), as_json, views.rule_columns(), "No rules: no alerts.")


@rules.command()
def show(ctx: typer.Context, rule_id: RuleId, as_json: AsJson = False) -> None:
    """Show an alert rule. What --json prints can be changed and given to 'put'.

    \b
    Examples:
      roundsman alerts rules show high-cpu
      roundsman alerts rules show high-cpu --json > rule.json
    """
    with api(ctx) as client:
        rule = client.get(path("alert-rules", rule_id))
        if as_json:
            print_json(rule)
        else:
            print_facts(views.rule_facts(rule, client.now))


@rules.command()
def put(ctx: typer.Context, file: RuleFile, rule_id: NewId = None, as_json: AsJson = False) -> None:
    """Make an alert rule, or change the one that has its id; several, if the file has a list of them.

    A file is a rule by itself, as 'show --json' prints it, or has [[alerts.rules]] as settings.toml. What it leaves out
    has its default. With a 'revision' a rule is only changed if nobody else changed it since. At the first rule that is
    refused it stops; those before are made.

    \b
    Examples:
      roundsman alerts rules put rule.toml
      roundsman alerts rules show high-cpu --json | roundsman alerts rules put - --id high-cpu-db
    """
    found = read_rules(file)
    if rule_id is not None and len(found) > 1:
        raise WrongInput(what="--id", why=f"the file has {len(found)} rules, and only one can have this id")
    answers = []
    with api(ctx) as client:
        for rule in found:
            named, body = _named(rule, rule_id)
            answer = client.put(path("alert-rules", named), body)
            answers.append(answer.body)
            if not as_json:
                say(f"{named} {'is new' if answer.status == 201 else 'is as the file says'}.")
    if as_json:
        print_json(answers[0] if len(answers) == 1 else {"items": answers, "next_cursor": None})


@rules.command()
def rm(ctx: typer.Context, rule_id: RuleId) -> None:
    """Remove an alert rule. It does not ask; its open alerts are resolved.

    \b
    Example:
      roundsman alerts rules rm db-memory
    """
    with api(ctx) as client:
        client.delete(path("alert-rules", rule_id))
    say(f"{rule_id} is removed. Its open alerts are resolved.")


@rules.command("test")
def try_rule(
    ctx: typer.Context,
    file: RuleFile,
    worker: Annotated[
        str, typer.Option(metavar="ID", autocompletion=worker_ids, help="On the samples of this worker.")
    ],
    since: Since = None,
    until: UntilTime = None,
    as_json: AsJson = False,
) -> None:
    """Try an alert rule on what was measured of a worker: what would it have told, and when? Nobody is told.

    \b
    Examples:
      roundsman alerts rules test rule.toml --worker build --since 6h
      roundsman alerts rules show high-cpu --json | roundsman alerts rules test - --worker build
    """
    found = read_rules(file)
    if len(found) > 1:
        raise WrongInput(what=str(file), why=f"it has {len(found)} rules; one is tried at a time")
    with api(ctx) as client:
        body = {"rule": found[0], "worker_id": worker, **given(since=since, until=until)}
        played = client.post("/alert-rules/test", body).body
        if as_json:
            print_json(played)
        else:
            views.say_played(played, client.now)


def _named(rule: dict[str, Any], rule_id: str | None) -> tuple[str, dict[str, Any]]:
    """Return the id and the rest of a rule. Under another id it is another rule, of which nobody knows a revision."""
    named = rule_id or rule.get("id")
    if not isinstance(named, str) or not named.strip(". "):
        raise WrongInput(what="the rule", why="it has no id; name it in the file, or with --id")
    left_out = {"id"} if rule.get("id") in (None, named) else {"id", "revision"}
    return named, {name: value for name, value in rule.items() if name not in left_out}
