"""How much of one kind may be done at once, over all instances."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

AtOnce = Annotated[int, Field(ge=1, le=1_000_000)]
Rate = Annotated[float, Field(gt=0, le=1_000_000, allow_inf_nan=False)]


class Limits(BaseModel):
    """What is more waits, and nothing is lost. What is left out has no limit.

    ``max_running`` bodies at once; ``rate_per_s`` starts a second, of which up to ``burst`` may come at once (by
    default as many as a second brings, at least one). Both hold for all instances together.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_running: AtOnce | None = None
    rate_per_s: Rate | None = None
    burst: AtOnce | None = None

    @model_validator(mode="after")
    def _burst_of_a_rate(self) -> "Limits":
        if self.burst is not None and self.rate_per_s is None:
            raise ValueError("burst: there is no rate_per_s whose starts could come at once")
        return self

    def as_rule(self) -> dict[str, float]:
        """Return it as claim.lua reads it."""
        rule: dict[str, float] = {}
        if self.max_running is not None:
            rule["limit"] = self.max_running
        if self.rate_per_s is not None:
            rule |= {"rate": self.rate_per_s, "burst": self.burst or max(1, round(self.rate_per_s))}
        return rule


class JobLimits(Limits):
    """Limits of one job class.

    ``one_per`` names a field of its data, or several: of runs with the same values in them ``at_once`` execute at a
    time, as for one import a customer.
    """

    one_per: str | tuple[str, ...] = ()
    at_once: AtOnce = 1

    @property
    def key_fields(self) -> tuple[str, ...]:
        """Return the fields that runs are told apart by."""
        return (self.one_per,) if isinstance(self.one_per, str) else self.one_per
