"""What can be set, with defaults and limits. ``settings.toml`` explains each key to its reader."""

import hashlib
import ipaddress
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_origin

from pydantic import (
    BeforeValidator,
    Field,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from domain.errors import RoundsmanError
from domain.jobs.queue import DEFAULT_QUEUES, QueueName, QueueRules, Queues
from domain.monitoring.routing import DEFAULT_GROUP, Grouping, Routing, check_facet
from domain.monitoring.rule import DEFAULT_RULES, AlertRule, check_rules
from infrastructure.jobs.history.settings import HistorySettings
from infrastructure.monitoring.aws.settings import AwsSettings
from infrastructure.monitoring.channels.settings import ChannelSettings, LogChannelSettings
from infrastructure.redis.settings import StoreSettings
from infrastructure.setting_kinds import (
    Count,
    Directory,
    ModuleName,
    ObjectName,
    Seconds,
    Section,
    as_value_error,
    no_bool,
    secret_of,
)
from infrastructure.settings_problems import describe
from infrastructure.settings_sources import Key, read_sources
from infrastructure.telemetry.addresses import split_address
from infrastructure.telemetry.settings import TelemetrySettings

DAY_S = 86_400.0
SHORTEST_RENEWAL_S = 0.1


class InvalidSettings(RoundsmanError):
    """The settings are not valid:

    {problems}

    Nothing was started. Mend each line; settings.toml explains every key."""

    status = 500


Role = Literal["viewer", "operator", "admin"]


class ApiKey(Section):
    """Who may call the API. The key itself is forgotten when it was hashed."""

    from_files = ("key", "key_file")

    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    role: Role
    key_sha256: Annotated[str, StringConstraints(pattern="^[0-9a-f]{64}$")] = Field(repr=False)

    @model_validator(mode="before")
    @classmethod
    def _hash(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        given = values.keys() & {"key", "key_file", "key_sha256"}
        if len(given) != 1:
            raise ValueError("give one of key, key_file and key_sha256")
        rest = {name: value for name, value in values.items() if name not in cls.from_files}
        if "key_sha256" in given:
            return rest
        key = secret_of(values, "key")
        if not isinstance(key, str) or not re.fullmatch(r"[!-~]+", key):
            raise ValueError("the key must be visible ASCII characters without spaces, so that a header can carry it")
        return {**rest, "key_sha256": hashlib.sha256(key.encode()).hexdigest()}


class ServerSettings(Section):
    """Where the API and the page are served, and to whom."""

    api_keys: tuple[ApiKey, ...] = ()
    host: str = "127.0.0.1"
    port: Annotated[int, BeforeValidator(no_bool), Field(ge=0, le=65_535)] = 8000
    base_path: Annotated[str, StringConstraints(pattern=r"^(/[A-Za-z0-9._~-]+)*$")] = ""
    allowed_origins: tuple[Annotated[str, StringConstraints(pattern=r"^https?://[^/\s*]+$")], ...] = ()

    @property
    def is_loopback(self) -> bool:
        """Tell whether only this machine reaches the server."""
        return _is_loopback(self.host)

    @field_validator("api_keys")
    @classmethod
    def _no_doubles(cls, keys: tuple[ApiKey, ...]) -> tuple[ApiKey, ...]:
        for what, values in (("name", [key.name for key in keys]), ("key", [key.key_sha256 for key in keys])):
            for index, value in enumerate(values):
                if (first := values.index(value)) < index:
                    raise ValueError(f"[{first}] and [{index}] have the same {what}")
        return keys

    @field_validator("host")
    @classmethod
    def _safe_host(cls, host: str, info: ValidationInfo) -> str:
        if not re.fullmatch(r"[A-Za-z0-9.:_%-]+", host):
            raise ValueError(f"must be an address or a name, without port; got {host!r}")
        if not _is_loopback(host) and info.data.get("api_keys") == ():
            raise ValueError(f"{host} can be reached from other machines: set server.api_keys, or use 127.0.0.1")
        return host


class BackgroundJobsSettings(Section):
    """What runs, how much of it at once, and how much of it is remembered."""

    modules: tuple[ModuleName, ...] = ()
    containers: tuple[ObjectName, ...] = ()
    engine: Literal["asyncio"] = "asyncio"
    concurrency: Annotated[Count, Field(le=100_000)] = 500
    lease_s: Annotated[Seconds, Field(ge=1, le=300)] = 5.0
    renewals_per_lease: Annotated[int, BeforeValidator(no_bool), Field(ge=2, le=100)] = 4
    batch: Annotated[Count, Field(le=10_000)] = 1_000
    takeover_limit: Annotated[int, BeforeValidator(no_bool), Field(ge=0, le=1_000)] = 5
    default_timeout_s: Annotated[Seconds, Field(le=30 * DAY_S)] = 300.0
    shutdown_grace_s: Annotated[float, BeforeValidator(no_bool), Field(ge=0, le=3600, allow_inf_nan=False)] = 10.0
    runs_kept_per_schedule: Count = 20
    finished_jobs_kept: Count = 10_000
    finished_jobs_ttl_s: Seconds = DAY_S
    dead_jobs_kept: Count = 10_000
    dead_jobs_ttl_s: Seconds = 30 * DAY_S
    events_kept: Count = 100_000

    @field_validator("renewals_per_lease")
    @classmethod
    def _renews_at_ease(cls, renewals: int, info: ValidationInfo) -> int:
        lease_s = info.data.get("lease_s")
        if lease_s is not None and lease_s / renewals < SHORTEST_RENEWAL_S:
            most = int(lease_s / SHORTEST_RENEWAL_S)
            raise ValueError(
                f"must be at most {most} with a lease_s of {lease_s:g}: {SHORTEST_RENEWAL_S} s or more apart"
            )
        return renewals

    @field_validator("engine", mode="before")
    @classmethod
    def _engine(cls, engine: object) -> object:
        if engine == "celery":
            raise ValueError("'celery' is not implemented in this version; use 'asyncio'")
        return engine


class QueuesSettings(Section):
    """The queues that jobs are submitted to, and who comes first."""

    default: QueueName = "free"
    priority_step_s: Annotated[float, BeforeValidator(no_bool), Field(ge=0, le=86_400, allow_inf_nan=False)] = 60.0
    idempotency_kept_h: Annotated[float, BeforeValidator(no_bool), Field(gt=0, le=8_760, allow_inf_nan=False)] = 24.0
    names: dict[QueueName, QueueRules] = Field(
        default_factory=lambda: dict(DEFAULT_QUEUES), min_length=1, max_length=100
    )

    @property
    def queues(self) -> Queues:
        """The queues, as the job service needs them."""
        return Queues(self.names, self.default, self.priority_step_s)

    @model_validator(mode="after")
    def _default_is_one(self) -> "QueuesSettings":
        if self.default not in self.names:
            raise ValueError(f"default: there is no queue '{self.default}'; names has {', '.join(self.names)}")
        return self


class MonitoringSettings(Section):
    """How often workers are looked at, and how long what was seen is kept."""

    interval_s: Annotated[Seconds, Field(ge=0.1)] = 5.0
    local_worker: bool = True
    samples_kept_h: Annotated[float, BeforeValidator(no_bool), Field(gt=0, le=744, allow_inf_nan=False)] = 24.0
    providers: tuple[ObjectName, ...] = ()
    aws: AwsSettings = AwsSettings()


class AlertsSettings(Section):
    """What is worth waking somebody for."""

    rules: tuple[AlertRule, ...] = DEFAULT_RULES
    channels: tuple[ChannelSettings, ...] = (LogChannelSettings(name="log", type="log"),)
    group_by: tuple[Annotated[str, StringConstraints(max_length=140)], ...] = DEFAULT_GROUP
    group_wait_s: Annotated[float, BeforeValidator(no_bool), Field(ge=0, le=3_600, allow_inf_nan=False)] = 0.0
    group_interval_s: Annotated[float, BeforeValidator(no_bool), Field(ge=0, le=86_400, allow_inf_nan=False)] = 0.0
    give_up_after_h: Annotated[float, BeforeValidator(no_bool), Field(gt=0, le=744, allow_inf_nan=False)] = 24.0
    deliveries_kept: Annotated[int, BeforeValidator(no_bool), Field(ge=100, le=1_000_000)] = 5_000
    deliveries_kept_h: Annotated[float, BeforeValidator(no_bool), Field(gt=0, le=87_600, allow_inf_nan=False)] = 720.0

    @property
    def routing(self) -> Routing:
        """Where notifications go, and which go together."""
        grouping = Grouping(self.group_by, self.group_wait_s, self.group_interval_s)
        return Routing({channel.name: channel.route for channel in self.channels}, grouping)

    @field_validator("channels")
    @classmethod
    def _one_name_each(cls, channels: tuple[ChannelSettings, ...]) -> tuple[ChannelSettings, ...]:
        names = [channel.name for channel in channels]
        for index, name in enumerate(names):
            if (first := names.index(name)) < index:
                raise ValueError(f"[{first}] and [{index}] have the same name")
        return channels

    @field_validator("group_by")
    @classmethod
    def _known_facets(cls, group_by: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(check_facet(name) for name in group_by)

    @field_validator("rules")
    @classmethod
    def _no_doubles(cls, rules: tuple[AlertRule, ...]) -> tuple[AlertRule, ...]:
        as_value_error(check_rules, rules)
        return rules


class AuditSettings(Section):
    """What is kept of who asked for what."""

    entries_kept: Annotated[int, Field(ge=100, le=1_000_000)] = 10_000
    kept_h: Annotated[float, BeforeValidator(no_bool), Field(gt=0, le=87_600, allow_inf_nan=False)] = 2_160.0
    hidden_fields: tuple[Annotated[str, Field(min_length=1, max_length=100)], ...] = ()


class Settings(Section):
    """All settings of the program."""

    data_dir: Directory = Path("var")
    server: ServerSettings = ServerSettings()
    store: StoreSettings = StoreSettings()
    background_jobs: BackgroundJobsSettings = BackgroundJobsSettings()
    queues: QueuesSettings = QueuesSettings()
    history: HistorySettings = HistorySettings()
    monitoring: MonitoringSettings = MonitoringSettings()
    alerts: AlertsSettings = AlertsSettings()
    audit: AuditSettings = AuditSettings()
    telemetry: TelemetrySettings = TelemetrySettings()

    @field_validator("telemetry")
    @classmethod
    def _metrics_are_guarded(cls, telemetry: TelemetrySettings, info: ValidationInfo) -> TelemetrySettings:
        address, server = telemetry.metrics_address, info.data.get("server")
        if address and server is not None and not server.api_keys:
            host, _ = split_address(address)
            if not _is_loopback(host):
                raise ValueError(
                    f"metrics_address {host} can be reached from other machines: set server.api_keys, or use 127.0.0.1"
                )
        return telemetry


def load_settings(
    path: Path | None = None, environ: Mapping[str, str] | None = None, inline: Mapping[str, Any] | None = None
) -> Settings:
    """Read, merge and check all settings; raise one ``InvalidSettings`` with everything that is wrong.

    The file is ``path``, else what ``ROUNDSMAN_CONFIG`` names, else ``settings.toml`` in the working directory if there
    is one. ``ROUNDSMAN_SECTION__KEY`` in ``environ`` (default: the process's) wins over the file. ``inline`` are tables
    that an application gives in code: both win over them, and no file is read that was not named.
    """
    sources = read_sources(path, os.environ if environ is None else environ, list(_keys(Settings)), inline)
    problems = sources.problems
    try:
        settings = Settings.model_validate(sources.values)
    except ValidationError as error:
        problems = problems + describe(error, sources, Settings)
    if problems:
        # Not chained: pydantic's error holds the values, secrets among them.
        raise InvalidSettings(problems="\n".join(f"- {problem}" for problem in problems)) from None
    return settings


def _keys(model: type[Section], path: tuple[str, ...] = ()) -> Iterator[Key]:
    """Yield every key that can be set, the ones for secrets in files included."""
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, Section):
            yield from _keys(kind, (*path, name))
        else:
            yield Key((*path, name), is_json=get_origin(kind) is tuple)
    for name in model.from_files:
        yield Key((*path, name), is_json=False)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
