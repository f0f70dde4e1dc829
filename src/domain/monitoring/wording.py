"""Texts that people write for their alerts: words with ``{placeholders}`` from a fixed list, and nothing else."""

from collections.abc import Mapping
from string import Formatter

MAX_TEMPLATE = 1_000
MAX_TEXT = 2_000
PLACEHOLDERS = (
    "rule",
    "severity",
    "kind",
    "worker",
    "worker_id",
    "provider",
    "region",
    "labels",
    "metric",
    "value",
    "subject",
    "reason",
    "summary",
    "since",
)
"""What a template may name. The values are put in once and never read as templates themselves."""


def template_problems(template: str) -> list[str]:
    """Return what is wrong with a template, each with how to mend it."""
    try:
        parts = list(Formatter().parse(template))
    except ValueError as error:
        return [f"{error}; a brace that is meant as one is written twice: '{{{{'"]
    problems = []
    for _, name, spec, conversion in parts:
        if name is None:
            continue
        if name not in PLACEHOLDERS:
            problems.append(f"there is no placeholder '{{{name}}}'; use one of {', '.join(PLACEHOLDERS)}")
        if spec or conversion:
            problems.append(f"'{{{name}}}' takes neither a format (':') nor a conversion ('!')")
    return problems


def render(template: str, facts: Mapping[str, str]) -> str:
    """Return the template with ``facts`` in the places of their names, cut at ``MAX_TEXT`` characters.

    A placeholder without a fact is empty. The template is one without problems.
    """
    parts = Formatter().parse(template)
    text = "".join(literal + (facts.get(name, "") if name is not None else "") for literal, name, _, _ in parts)
    return text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 1] + "…"
