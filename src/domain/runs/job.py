"""The background job: what to do. Its data fields travel as JSON, its dependencies are injected for every run."""

import dataclasses
import inspect
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, TypeVar, dataclass_transform, get_args, get_origin, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from domain.runs.errors import InvalidData, JobDefinitionError
from domain.runs.retry import RetryPolicy
from domain.runs.run import lane_of

TaskType = Literal["recurrent", "scheduled"]

T = TypeVar("T")


@dataclass(frozen=True)
class Inject:
    """Mark a field as a dependency; ``provider`` names one where the type alone is ambiguous."""

    provider: str | None = None


Injected = Annotated[T, Inject()]
"""``clock: Injected[Clock]`` asks for a ``Clock`` from the containers, anew for every run."""


@dataclass(frozen=True)
class DependencySpec:
    """One dependency of a job class."""

    type: Any
    provider: str | None = None


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

    @property
    def lane(self) -> str:
        """Name the work that knows this class in this version."""
        return lane_of(self.name, self.version)

    @property
    def body(self) -> str:
        """Name the method that does the work."""
        return "run_every" if self.task_type == "recurrent" else "run_at"

    def dump(self, data: dict[str, Any]) -> str:
        """Validate ``data`` and return its canonical JSON; raise ``InvalidData`` naming each wrong field."""
        try:
            return self.data_model.model_validate(data).model_dump_json()
        except ValidationError as error:
            raise InvalidData(name=self.name, why=describe(error), errors=places(error)) from None
        except ValueError as error:  # what cannot be written as JSON, though the field's type took it
            raise InvalidData(name=self.name, why=str(error)) from None

    def load(self, data: str) -> dict[str, Any]:
        """Return the field values of stored ``data``; raise ``InvalidData`` when this class does not take it."""
        try:
            return self.data_model.model_validate_json(data).__dict__
        except ValidationError as error:
            raise InvalidData(name=self.name, why=describe(error)) from None


def describe(error: ValidationError) -> str:
    """Say each wrong field in one line, without the value: it may be a secret."""
    lines = (f"{'.'.join(str(part) for part in item['loc']) or 'data'}: {item['msg']}" for item in error.errors())
    return "; ".join(lines)


def places(error: ValidationError) -> list[dict[str, Any]]:
    """Return the same as data: where, and what is wrong."""
    return [{"loc": list(item["loc"]), "msg": item["msg"]} for item in error.errors()]


@dataclass_transform(kw_only_default=True, field_specifiers=(dataclasses.field,))
def backgroundjob(
    *,
    task_type: TaskType,
    name: str | None = None,
    version: int = 1,
    retry: RetryPolicy | None = None,
    timeout_s: float | None = None,
    slots: bool = False,
) -> Callable[[type[T]], type[T]]:
    """Make the class a keyword-only dataclass and split its fields into data and dependencies.

    ``name`` (default: the class's) is what descriptors call it; ``version`` is that of its payload. ``retry`` and
    ``timeout_s`` (seconds) hold where a schedule or a job does not say otherwise. Raises ``JobDefinitionError``.
    """

    def decorate(cls: type[T]) -> type[T]:
        _check_body(cls, task_type)
        if "__dataclass_fields__" not in cls.__dict__:
            cls = dataclass(kw_only=True, slots=slots)(cls)
        job: Any = cls
        job.__definition__ = _define(job, task_type, name or cls.__name__, version, retry or RetryPolicy(), timeout_s)
        job.__dependencies__ = {field: spec.type for field, spec in job.__definition__.dependencies.items()}
        return cls

    return decorate


def _check_body(cls: type, task_type: str) -> None:
    bases = {"recurrent": (RecurrentBackgroundJob, "run_every"), "scheduled": (ScheduledBackgroundJob, "run_at")}
    if task_type not in bases:
        raise JobDefinitionError(job=cls.__name__, why=f"task_type is {task_type!r}; use 'recurrent' or 'scheduled'")
    base, body = bases[task_type]
    if not issubclass(cls, base):
        raise JobDefinitionError(job=cls.__name__, why=f"a {task_type} job must derive from {base.__name__}")
    if getattr(cls, body) is getattr(base, body):
        raise JobDefinitionError(job=cls.__name__, why=f"it does not define {body}")


def _define(
    cls: type[BackgroundJob], task_type: TaskType, name: str, version: int, retry: RetryPolicy, timeout_s: float | None
) -> JobDefinition:
    if not name.isidentifier():
        raise JobDefinitionError(job=name, why="its name must be a Python identifier, as it is part of keys and lanes")
    if version < 1:
        raise JobDefinitionError(job=name, why=f"its version is {version}; versions begin with 1")
    data, dependencies = _split(cls, name)
    model = create_model(f"{name}Data", __config__=ConfigDict(extra="forbid", allow_inf_nan=False), **data)
    return JobDefinition(cls, name, task_type, version, retry, timeout_s, model, dependencies)


def _split(cls: type[BackgroundJob], name: str) -> tuple[dict[str, Any], dict[str, DependencySpec]]:
    try:
        hints = get_type_hints(cls, include_extras=True)
    except NameError as error:
        raise JobDefinitionError(
            job=name, why=f"an annotation does not resolve: {error}. Import it at module level"
        ) from error
    data: dict[str, Any] = {}
    dependencies: dict[str, DependencySpec] = {}
    for field in dataclasses.fields(cls):  # type: ignore[arg-type]  # a dataclass by now
        hint = hints[field.name]
        if (mark := _inject_mark(hint)) is not None:
            dependencies[field.name] = DependencySpec(get_args(hint)[0], mark.provider)
        elif field.init:
            data[field.name] = (hint, _default(field))
    return data, dependencies


def _inject_mark(hint: Any) -> Inject | None:
    if get_origin(hint) is not Annotated:
        return None
    return next((part for part in get_args(hint)[1:] if isinstance(part, Inject)), None)


def _default(field: "dataclasses.Field[Any]") -> Any:
    if field.default is not dataclasses.MISSING:
        return field.default
    if field.default_factory is not dataclasses.MISSING:
        return Field(default_factory=field.default_factory)
    return ...
