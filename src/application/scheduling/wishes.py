"""What somebody wants a schedule to be, made whole and checked against its job."""

import json
from typing import Any

from application.runs.registry import JobRegistry
from domain.scheduling.descriptor import RecurrentTaskDescriptor
from domain.scheduling.trigger import KINDS


def checked(registry: JobRegistry, wanted: RecurrentTaskDescriptor) -> RecurrentTaskDescriptor:
    """Return the descriptor with its data as the class stores it, defaults filled in; raise what is wrong."""
    definition = registry.expect(wanted.name, "recurrent", wanted.version)
    text = definition.dump(wanted.data, wanted.version)
    data = definition.data_model.model_validate_json(text).model_dump(mode="json")
    return wanted.model_copy(update={"data": data, "version": definition.version})


def modified(
    registry: JobRegistry, definition: RecurrentTaskDescriptor, changes: dict[str, Any]
) -> RecurrentTaskDescriptor:
    """Return a stored descriptor with ``changes``: ``policy`` field by field, a trigger instead of the old one.

    Data that was stored in an older version of the job becomes data of the present one.
    """
    merged = definition.model_dump()
    policy = {**merged.pop("policy"), **changes.get("policy", {})}
    if not changes.keys().isdisjoint(KINDS):
        merged.update(dict.fromkeys(KINDS))
    wanted = {**merged, **changes, "policy": policy, "id": definition.id}
    if "version" not in changes:
        job = registry.get(wanted["name"])
        stored_in = wanted["version"]
        if "name" in changes or stored_in is None or stored_in < job.version:
            if "name" not in changes and "data" not in changes:
                wanted["data"] = json.loads(job.dump(wanted["data"], stored_in))
            wanted["version"] = job.version
    return RecurrentTaskDescriptor.model_validate(wanted)
