"""Weights and limits of queues and jobs, as claim.lua reads them."""

import json

from application.runs.registry import JobRegistry
from domain.jobs.queue import Queues


def rules_of(queues: Queues, registry: JobRegistry) -> str:
    """Return ``{"queues": {name: {weight, limit, rate, burst}}, "jobs": {name: {limit, rate, burst}}}`` as JSON."""
    of_queues = {name: {"weight": rules.weight, **rules.as_rule()} for name, rules in queues.rules.items()}
    limited = {name: one.limits.as_rule() for name, one in registry.definitions.items() if one.limits}
    of_jobs = {name: rule for name, rule in limited.items() if rule}
    return json.dumps({"queues": of_queues, "jobs": of_jobs}, separators=(",", ":"))
