"""The background job: what to do. Its data fields travel as JSON, its dependencies are injected for every run."""

import dataclasses
import inspect
import json
from abc import abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypeVar, dataclass_transform

from pydantic import BaseModel

from domain.runs import payload
from domain.runs.errors import InvalidData, JobDefinitionError, NotUpgraded
from domain.runs.fields import DependencySpec, Inject, Injected, injected, split
from domain.runs.limits import JobLimits
from domain.runs.payload import describe, places
from domain.runs.retry import RetryPolicy
from domain.runs.run import lane_of
from domain.runs.versions import Upgrade, find_upgrade, upgraded, versions_taken

__all__ = [
    "BackgroundJob",
    "DependencySpec",
    "Inject",
    "Injected",
    "JobDefinition",
    "RecurrentBackgroundJob",
    "ScheduledBackgroundJob",
    "backgroundjob",
    "describe",
    "injected",
    "places",
]

TaskType = Literal["recurrent", "scheduled"]
Takes = Literal["nothing", "positional", "keyword"]
"""How a body takes its context."""

NAME_LIMIT = 200
LONGEST_TIMEOUT_S = 366 * 86_400.0

T = TypeVar("T")


class BackgroundJob:
    """Base of all jobs. Derive from ``RecurrentBackgroundJob`` or ``ScheduledBackgroundJob``."""

    __definition__: ClassVar["JobDefinition"]
    __dependencies__: ClassVar[dict[str, Any]]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Make all fields keyword-only, also under a plain ``@dataclass``: their order never matters then."""
        super().__init_subclass__(**kwargs)
        cls.__annotations__ = {"_": dataclasses.KW_ONLY, **inspect.get_annotations(cls)}


class RecurrentBackgroundJob(BackgroundJob):
    """A job that runs again and again, by a trigger."""

    @abstractmethod
    def run_every(self, *args: Any, **kwargs: Any) -> Any:
        """Do the work of one fire. ``async def`` or ``def``; takes ``ctx: JobContext`` or nothing; returns JSON."""
        raise NotImplementedError


class ScheduledBackgroundJob(BackgroundJob):
    """A job that runs once, now or at a given time."""

    @abstractmethod
    def run_at(self, *args: Any, **kwargs: Any) -> Any:
        """Do the work. ``async def`` or ``def``; takes ``ctx: JobContext`` or nothing; returns JSON."""
        raise NotImplementedError


@dataclass(frozen=True)
class JobDefinition:
    """What the decorator found out about a job class, once."""

    cls: type[BackgroundJob]
    name: str
    task_type: TaskType
    version: int
    retry: RetryPolicy
    timeout_s: float | None
    data_model: type[BaseModel]
    dependencies: dict[str, DependencySpec]
    takes: Takes = "positional"
    upgrade: Upgrade | None = None
    oldest: int | None = None
    """The oldest version that ``upgrade`` takes; None without one."""
    limits: JobLimits | None = None

    @property
    def versions(self) -> range:
        """Name the versions of its payload that this class takes, its own the last."""
        return range(self.version if self.oldest is None else self.oldest, self.version + 1)

    @property
    def lane(self) -> str:
        """Name the work that knows this class in this version."""
        return lane_of(self.name, self.version)

    @property
    def lanes(self) -> tuple[str, ...]:
        """Name all work that this class can do, that of older versions included."""
        return tuple(lane_of(self.name, version) for version in self.versions)

    @property
    def body(self) -> str:
        """Name the method that does the work."""
        return "run_every" if self.task_type == "recurrent" else "run_at"

    def dump(self, data: dict[str, Any], version: int | None = None) -> str:
        """Validate ``data`` and return its canonical JSON; raise ``InvalidData`` naming each wrong field.

        Data of an older ``version`` is upgraded first. A class without ``upgrade`` takes it as it is, if it fits.
        Raises ``NotUpgraded`` when nothing valid comes of it.
        """
        if version is None or version == self.version:
            return payload.dump(self.data_model, self.name, data)
        made = data
        if self.upgrade is not None and version in self.versions:
            made = upgraded(self.upgrade, self.name, data, version, self.version)
            what = "what its upgrade returned does not fit"
        else:
            what = f"it has no upgrade from version {version}, and as it is the data does not fit"
        try:
            return payload.dump(self.data_model, self.name, made)
        except InvalidData as error:
            facts = {"version": version, "known": self.version, "why": f"{what}: {error.facts['why']}"}
            raise NotUpgraded(name=self.name, errors=error.facts.get("errors"), **facts) from None

    def load(self, data: str, version: int | None = None) -> dict[str, Any]:
        """Return the field values of stored ``data``; raise ``InvalidData`` when this class does not take it.

        Data of an older ``version`` is upgraded on the way, each time anew: what is stored stays as it is.
        """
        if version is not None and version != self.version:
            data = self.dump(json.loads(data), version)
        return payload.load(self.data_model, self.name, data)


@dataclass_transform(kw_only_default=True, field_specifiers=(dataclasses.field,))
def backgroundjob(
    *,
    task_type: TaskType,
    name: str | None = None,
    version: int = 1,
    upgrades_from: int | None = None,
    retry: RetryPolicy | None = None,
    timeout_s: float | None = None,
    limits: JobLimits | None = None,
    slots: bool = False,
) -> Callable[[type[T]], type[T]]:
    """Make the class a keyword-only dataclass and split its fields into data and dependencies.

    ``name`` (default: the class's) is what descriptors call it; ``version`` is that of its payload. A class with
    ``upgrade(version, data)``, a classmethod, takes older payloads too, from version ``upgrades_from`` (1 without it)
    on. ``retry`` and ``timeout_s`` (seconds) hold where a schedule or a job does not say otherwise; ``limits`` say how
    much of it may execute over all instances. Raises ``JobDefinitionError``.
    """

    def decorate(cls: type[T]) -> type[T]:
        takes = _check_body(cls, task_type)
        _check_bases(cls)
        if "__dataclass_fields__" not in cls.__dict__:
            cls = _dataclass(cls, slots)
        job: Any = cls
        named = cls.__name__ if name is None else name
        _check_options(named, version, retry, timeout_s)
        upgrade = find_upgrade(cls, named, version)
        taken = versions_taken(named, version, upgrade, upgrades_from)
        fields = split(cls, named)
        job.__definition__ = JobDefinition(
            cls=job,
            name=named,
            task_type=task_type,
            version=version,
            retry=retry or RetryPolicy(),
            timeout_s=timeout_s,
            data_model=payload.model_of(named, fields.data),
            dependencies=fields.dependencies,
            takes=takes,
            upgrade=upgrade,
            oldest=None if upgrade is None else taken[0],
            limits=_checked_limits(named, limits, fields.data),
        )
        job.__dependencies__ = {field: spec.type for field, spec in fields.dependencies.items()}
        return cls

    return decorate


def _check_bases(cls: type) -> None:
    """Refuse fields of a base that is no dataclass: Python would leave them out without a word."""
    for base in cls.__mro__[1:]:
        if issubclass(base, BackgroundJob) and "__dataclass_fields__" not in base.__dict__:
            names = [name for name, hint in inspect.get_annotations(base).items() if _is_field(name, hint)]
            if names:
                why = f"its base {base.__name__} has fields ({', '.join(names)}); put @dataclass(kw_only=True) above it"
                raise JobDefinitionError(job=cls.__name__, why=why)


def _is_field(name: str, hint: Any) -> bool:
    return hint is not dataclasses.KW_ONLY and not name.startswith("__") and "ClassVar" not in str(hint)


def _dataclass(cls: type[T], slots: bool) -> type[T]:
    try:
        return dataclass(kw_only=True, slots=slots)(cls)
    except (TypeError, ValueError) as error:  # a mutable default, a frozen parent …
        raise JobDefinitionError(job=cls.__name__, why=f"it is no dataclass: {error}") from error


def _check_options(name: Any, version: Any, retry: Any, timeout_s: Any) -> None:
    if not isinstance(name, str) or not name.isidentifier() or len(name) > NAME_LIMIT:
        why = (
            f"its name must be a Python identifier of at most {NAME_LIMIT} characters, as it is part of keys and lanes"
        )
        raise JobDefinitionError(job=name, why=why)
    if type(version) is not int or version < 1:
        raise JobDefinitionError(job=name, why=f"its version is {version!r}; versions are whole numbers from 1 on")
    if not (retry is None or isinstance(retry, RetryPolicy)):
        raise JobDefinitionError(job=name, why=f"retry is {retry!r}; write retry=RetryPolicy(max_retries=…)")
    if timeout_s is not None and not (isinstance(timeout_s, int | float) and 0 < timeout_s <= LONGEST_TIMEOUT_S):
        raise JobDefinitionError(job=name, why=f"timeout_s is {timeout_s!r}; give seconds above 0 and up to a year")


def _checked_limits(name: str, limits: Any, data: Iterable[str]) -> JobLimits | None:
    if not (limits is None or isinstance(limits, JobLimits)):
        raise JobDefinitionError(job=name, why=f"limits is {limits!r}; write limits=JobLimits(max_running=…)")
    unknown = [] if limits is None else [field for field in limits.key_fields if field not in set(data)]
    if unknown:
        why = f"limits.one_per names {', '.join(unknown)}, and its data has {', '.join(data) or 'no fields'}"
        raise JobDefinitionError(job=name, why=why)
    return limits


def _check_body(cls: Any, task_type: Any) -> Takes:
    """Return how the body takes its context; refuse a class whose body could never be called."""
    bases = {"recurrent": (RecurrentBackgroundJob, "run_every"), "scheduled": (ScheduledBackgroundJob, "run_at")}
    called = getattr(cls, "__name__", repr(cls))
    if task_type not in bases:
        raise JobDefinitionError(job=called, why=f"task_type is {task_type!r}; use 'recurrent' or 'scheduled'")
    base, name = bases[task_type]
    if not (isinstance(cls, type) and issubclass(cls, base)):
        raise JobDefinitionError(job=called, why=f"a {task_type} job must derive from {base.__name__}")
    body = inspect.getattr_static(cls, name)
    if body is inspect.getattr_static(base, name):
        raise JobDefinitionError(job=called, why=f"it does not define {name}")
    if isinstance(body, staticmethod | classmethod) or not callable(body):
        raise JobDefinitionError(job=called, why=f"{name} must be a plain method")
    if inspect.isgeneratorfunction(body) or inspect.isasyncgenfunction(body):
        raise JobDefinitionError(job=called, why=f"{name} yields; a body returns its result, once")
    try:
        return _takes(body)
    except TypeError as error:
        raise JobDefinitionError(job=called, why=f"{name} {error}") from None


def _takes(body: Callable[..., Any]) -> Takes:
    """Tell how a body takes its context; raise ``TypeError`` for one that asks for something else."""
    parameters = list(inspect.signature(body).parameters.values())[1:]  # without self
    positional = [one for one in parameters if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)]
    keywords = [one for one in parameters if one.kind is one.KEYWORD_ONLY]
    others = [one.name for one in [*positional[1:], *keywords] if one.default is one.empty and one.name != "ctx"]
    if positional and positional[0].default is not inspect.Parameter.empty and positional[0].name != "ctx":
        others.append(positional[0].name)
    if others:
        raise TypeError(f"asks for {', '.join(others)}; it is given ctx or nothing. Data and dependencies are fields")
    if positional or any(one.kind is one.VAR_POSITIONAL for one in parameters):
        return "positional"
    return "keyword" if any(one.name == "ctx" for one in keywords) else "nothing"
