"""The fields of a job class: data, which travels as JSON, and dependencies, which are injected for every run."""

import dataclasses
from dataclasses import InitVar, dataclass
from types import UnionType
from typing import Annotated, Any, ClassVar, TypeVar, Union, get_args, get_origin, get_type_hints

from pydantic.fields import FieldInfo

from domain.runs.errors import DependencyNotGiven, JobDefinitionError

T = TypeVar("T")


@dataclass(frozen=True)
class Inject:
    """Mark a field as a dependency; ``provider`` names one where the type alone is ambiguous."""

    provider: str | None = None


Injected = Annotated[T, Inject()]
"""``clock: Injected[Clock]`` asks for a ``Clock`` from the containers, anew for every run."""


class NotInjected:
    """Stand in a job that was constructed by hand for a dependency that it was not given."""

    def __getattr__(self, name: str) -> Any:
        """Raise ``DependencyNotGiven`` for whatever a body wants of it; Python itself may look for its own names."""
        if name.startswith("__"):
            raise AttributeError(name)
        raise DependencyNotGiven(wanted=name)

    def __repr__(self) -> str:
        return "<not injected>"


NOT_INJECTED = NotInjected()


def injected() -> Any:
    """Return the default of a dependency that a constructor may leave out: ``clock: Injected[Clock] = injected()``.

    For type checkers the field need not be given then. It changes nothing about what is injected.
    """
    return NOT_INJECTED


@dataclass(frozen=True)
class DependencySpec:
    """One dependency of a job class."""

    type: Any
    provider: str | None = None


@dataclass(frozen=True)
class DataField:
    """One data field of a job class, with its annotation and how it is filled in when it is left out."""

    hint: Any
    default: Any = dataclasses.MISSING
    default_factory: Any = dataclasses.MISSING


@dataclass(frozen=True)
class Fields:
    """What the constructor of a job class takes."""

    data: dict[str, DataField]
    dependencies: dict[str, DependencySpec]


def split(cls: type, job: str) -> Fields:
    """Split the fields of the dataclass ``cls``; raise ``JobDefinitionError`` for a field that fits neither."""
    hints = _hints(cls, job)
    data: dict[str, DataField] = {}
    dependencies: dict[str, DependencySpec] = {}
    declared: dict[str, dataclasses.Field[Any]] = cls.__dict__["__dataclass_fields__"]  # with InitVars, unlike fields()
    for field in declared.values():
        hint = hints[field.name]
        if get_origin(hint) is ClassVar or hint is ClassVar:
            continue
        if isinstance(hint, InitVar):
            hint = hint.type
        spec = _dependency(hint, job, field)
        if spec is not None:
            dependencies[field.name] = spec
        elif field.init:
            data[field.name] = _data(hint, job, field)
    return Fields(data, dependencies)


def _hints(cls: type, job: str) -> dict[str, Any]:
    try:
        return get_type_hints(cls, include_extras=True)
    except (NameError, AttributeError, TypeError, SyntaxError) as error:
        why = f"an annotation does not resolve: {error}. Import or define it at module level, and not for TYPE_CHECKING"
        raise JobDefinitionError(job=job, why=f"{why} alone") from error


def _dependency(hint: Any, job: str, field: "dataclasses.Field[Any]") -> DependencySpec | None:
    marks = _marks(hint)
    if not marks:
        if _mentions_inject(hint):
            why = (
                f"the field '{field.name}' hides Injected[…] in another type; write {field.name}: Injected[<one class>]"
            )
            raise JobDefinitionError(job=job, why=why)
        return None
    wanted = get_args(hint)[0]
    if isinstance(wanted, TypeVar):
        raise JobDefinitionError(job=job, why=f"the field '{field.name}' does not say what is to be injected")
    if get_origin(wanted) in (Union, UnionType):
        why = f"the field '{field.name}' asks for {wanted}; ask for one class, which is always there"
        raise JobDefinitionError(job=job, why=why)
    if not field.init:
        raise JobDefinitionError(job=job, why=f"the dependency '{field.name}' has init=False and cannot be injected")
    return DependencySpec(wanted, next((mark.provider for mark in marks if mark.provider), None))


def _marks(hint: Any) -> list[Inject]:
    if get_origin(hint) is not Annotated:
        return []
    found = [Inject() if part is Inject else part for part in get_args(hint)[1:]]
    return [part for part in found if isinstance(part, Inject)]


def _mentions_inject(hint: Any) -> bool:
    return bool(_marks(hint)) or any(_mentions_inject(part) for part in get_args(hint) if not isinstance(part, str))


def _data(hint: Any, job: str, field: "dataclasses.Field[Any]") -> DataField:
    if isinstance(field.default, FieldInfo):
        why = f"the default of '{field.name}' is pydantic's Field(…); write {field.name}: Annotated[<type>, Field(…)]"
        raise JobDefinitionError(job=job, why=why)
    return DataField(hint, field.default, field.default_factory)
