"""The metric sample: what was seen of a worker at one moment, and why the rest was not."""

import math
from enum import StrEnum
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from domain.monitoring.worker import WorkerStatus
from domain.scheduling.policy import UtcDatetime

FRACTION_DIGITS = 4
LOAD_DIGITS = 2
MAX_FILESYSTEMS = 64


def _whole(value: Any) -> Any:
    return round(value) if isinstance(value, float) and math.isfinite(value) else value


Moment = UtcDatetime
"""In whole milliseconds: a sample's time is its id in the store."""

Fraction = Annotated[float, Field(ge=0, le=1), AfterValidator(lambda value: round(value, FRACTION_DIGITS))]

Load = Annotated[
    float, Field(ge=0, le=1e9, allow_inf_nan=False), AfterValidator(lambda value: round(value, LOAD_DIGITS))
]

Whole = Annotated[int, BeforeValidator(_whole), Field(ge=0, lt=2**63)]


class CheckStatus(StrEnum):
    """What a provider's own check of a worker says."""

    OK = "ok"
    IMPAIRED = "impaired"
    INITIALIZING = "initializing"
    INSUFFICIENT_DATA = "insufficient_data"
    NOT_APPLICABLE = "not_applicable"


class StatusChecks(BaseModel):
    """The provider's checks of the hardware below a worker, of the worker itself, and of the disks attached to it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    system: CheckStatus | None = None
    instance: CheckStatus | None = None
    attached_ebs: CheckStatus | None = CheckStatus.NOT_APPLICABLE
    """Left out where it does not apply."""


class Metrics(BaseModel):
    """The measured values. Utilisation is a fraction 0..1, to four digits; bytes, seconds and processes are whole."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    cpu_utilization: Fraction | None = None
    memory_utilization: Fraction | None = None
    memory_limit_bytes: Whole | None = None
    load_1m: Load | None = None
    filesystems: Annotated[dict[str, Fraction], Field(max_length=MAX_FILESYSTEMS)] | None = None
    """Mount point → part in use."""
    disk_read_bytes_per_s: Whole | None = None
    disk_write_bytes_per_s: Whole | None = None
    network_rx_bytes_per_s: Whole | None = None
    network_tx_bytes_per_s: Whole | None = None
    uptime_s: Whole | None = None
    process_count: Whole | None = None


METRICS = tuple(Metrics.model_fields)
FRACTIONS = frozenset({"cpu_utilization", "memory_utilization", "filesystems"})
CHECKS = tuple(StatusChecks.model_fields)


class MetricSample(BaseModel):
    """One look at a worker; its JSON is the payload of ``worker.metrics.collected``.

    ``observed_at`` is the moment that the values are of, ``collected_at`` when they were all there. Where a provider
    has values only for whole periods, ``period_s`` is how long one is and ``observed_at`` its end. Whatever is null
    has a reason in ``missing`` under its name (``cpu_utilization``, ``status_checks.system``, ``region``; a mount
    point that did not answer: ``filesystems./data``). ``sources`` names where a value is from, if not the provider's
    usual one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    worker_id: str
    worker_name: str
    provider: str
    region: str | None = None
    observed_at: Moment
    collected_at: Moment
    status: WorkerStatus
    status_checks: StatusChecks = StatusChecks()
    metrics: Metrics = Metrics()
    missing: dict[str, str] = {}
    sources: dict[str, str] = {}
    period_s: Annotated[float, Field(gt=0, le=86_400)] | None = None

    @model_validator(mode="after")
    def _every_null_has_a_reason(self) -> "MetricSample":
        unknown = self._nulls()
        silent = sorted(unknown - {field for field, reason in self.missing.items() if reason.strip()})
        if silent:
            raise ValueError(f"null without a reason in 'missing': {', '.join(silent)}")
        spare = sorted(field for field in self.missing if field not in unknown and not self._is_mount(field))
        if spare:
            raise ValueError(f"'missing' gives a reason for what is not null: {', '.join(spare)}")
        return self

    @model_serializer(mode="wrap")
    def _without_what_does_not_apply(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        found: dict[str, Any] = handler(self)
        if not self.sources:
            found.pop("sources", None)
        if self.period_s is None:
            found.pop("period_s", None)
        if self.status_checks.attached_ebs is CheckStatus.NOT_APPLICABLE and "status_checks" in found:
            found["status_checks"].pop("attached_ebs", None)
        return found

    @property
    def time_ms(self) -> int:
        """Milliseconds since the epoch at which it was observed: its id in the store."""
        return round(self.observed_at.timestamp() * 1000)

    @property
    def heard_until_ms(self) -> int:
        """Milliseconds since the epoch from which on silence counts: before, no newer value could be had."""
        if self.period_s is None:
            return self.time_ms
        return round((self.collected_at.timestamp() + self.period_s) * 1000)

    def apart_s(self, interval_s: float) -> float:
        """Return how far apart samples are when the worker is looked at every ``interval_s`` seconds."""
        return max(interval_s, self.period_s or 0.0)

    def _nulls(self) -> set[str]:
        nulls = {name for name in METRICS if getattr(self.metrics, name) is None}
        nulls |= {f"status_checks.{name}" for name in CHECKS if getattr(self.status_checks, name) is None}
        return nulls | ({"region"} if self.region is None else set())

    def _is_mount(self, field: str) -> bool:
        mount = field.removeprefix("filesystems.")
        return mount != field and mount not in (self.metrics.filesystems or {})
