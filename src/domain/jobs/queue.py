"""Queues: who comes first, and how much of each may be out."""

from collections.abc import Iterable, Mapping
from typing import Annotated

from pydantic import Field, StringConstraints

from domain.jobs.errors import UnknownQueue
from domain.runs.limits import Limits

QueueName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_\-]{0,31}$")]
LOWEST, HIGHEST = -100, 100
Priority = Annotated[int, Field(ge=LOWEST, le=HIGHEST, strict=True)]


class QueueRules(Limits):
    """One queue. While several have something to do, each gets starts in proportion to its ``weight``; so none starves.

    ``max_waiting``: a job that would wait behind so many is refused.
    """

    weight: Annotated[float, Field(gt=0, le=10_000, allow_inf_nan=False)] = 1.0
    max_waiting: Annotated[int, Field(ge=1, le=100_000_000)] | None = None


DEFAULT_QUEUES: Mapping[str, QueueRules] = {
    "free": QueueRules(weight=1),
    "pro": QueueRules(weight=2),
    "business": QueueRules(weight=4),
    "enterprise": QueueRules(weight=8),
}


class Queues:
    """The queues of this program.

    Within a queue a step of priority is worth ``priority_step_s`` of waiting: what waits longer is served before what
    came so much later, whatever its priority.
    """

    def __init__(
        self,
        rules: Mapping[str, QueueRules] = DEFAULT_QUEUES,
        default: str = "free",
        priority_step_s: float = 60.0,
    ) -> None:
        self.rules = dict(rules)
        self.default = default
        self.priority_step_s = priority_step_s

    def named(self, name: str | None) -> str:
        """Return the queue that is meant; raise ``UnknownQueue``, naming those there are."""
        name = self.default if name is None else name
        if name not in self.rules:
            raise UnknownQueue(queue=name, known=", ".join(self.rules))
        return name

    def ahead_ms(self, priority: int) -> int:
        """Return how much earlier than it came a job of this priority is placed."""
        return round(priority * self.priority_step_s * 1000)

    def most_waiting(self, names: Iterable[str]) -> dict[str, int]:
        """Return how many may wait, of those queues that have a limit."""
        found = {name: self.rules[name].max_waiting for name in names}
        return {name: most for name, most in found.items() if most is not None}
