"""What a provider finds when it looks for workers: to import them."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from domain.monitoring.worker import Labels, ProviderId, ProviderName, WorkerId, WorkerName, WorkerStatus

MAX_IDS = 5_000

TagName = Annotated[str, StringConstraints(min_length=1, max_length=128)]
TagValue = Annotated[str, StringConstraints(max_length=256)]
LivingState = Literal["pending", "running", "stopping", "stopped"]


class ImportFilters(BaseModel):
    """Which of a region's machines are meant: those that have all ``tags``, one of ``states``, one of ``instance_ids``.

    What is left out lets all through. Values of tags may hold ``*`` and ``?``, as the provider understands them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    tags: Annotated[dict[TagName, TagValue], Field(max_length=50)] = {}
    states: tuple[LivingState, ...] = ()
    instance_ids: Annotated[tuple[ProviderId, ...], Field(max_length=MAX_IDS)] = ()


class ImportRequest(BaseModel):
    """Register what a provider has in one account and region. ``monitor`` starts the monitoring of all of it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    provider: ProviderName
    account: ProviderId | None = None
    region: ProviderId | None = None
    filters: ImportFilters = ImportFilters()
    monitor: bool = False


class FoundWorker(BaseModel):
    """One machine that a provider has. ``id`` is what it is registered under, always the same for one machine."""

    model_config = ConfigDict(frozen=True)

    id: WorkerId
    name: WorkerName
    account: ProviderId | None = None
    region: ProviderId | None = None
    instance_id: ProviderId
    labels: Labels = {}
    status: WorkerStatus
