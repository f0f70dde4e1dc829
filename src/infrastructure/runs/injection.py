"""Give jobs their dependencies by type, from dependency-injector containers, in a fresh scope for every run."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, nullcontext
from dataclasses import dataclass
from types import CoroutineType
from typing import Any, get_origin

from dependency_injector import containers, providers

from domain.runs.errors import AmbiguousDependency, JobDefinitionError, UnsatisfiedDependency
from domain.runs.job import DependencySpec, JobDefinition
from infrastructure.runs.providers import (
    Named,
    below,
    derives,
    effective,
    is_async,
    is_unbound,
    lives_per_run,
    says_nothing,
    walk,
)


@dataclass(frozen=True, slots=True)
class Plan:
    """How the dependencies of one job are made: its fields, and what lives per run below them, deepest first."""

    fields: tuple[tuple[str, Any], ...]
    per_run: tuple[Any, ...]

    def makes_anew(self) -> bool:
        """Tell whether a factory makes something for the job itself, as things stand: overrides change it."""
        for _, provider in self.fields:  # noqa: SIM110 - a generator would cost each run as much as all the rest here
            if _is_factory(provider):
                return True
        return False


class ContainerInjector:
    """Index the providers of some containers by the types they give, once; resolve jobs from the index.

    An exact type beats a base class; ``Inject("name")`` names a provider. What lives per run is a
    ``ContextLocalSingleton``, wherever it is needed, or what a ``Factory`` makes for the job itself: when such a thing
    is a context manager, it is entered before the body and left after it, with the exception that ended the body.
    Everything else is left alone. Overrides hold from the next run on.
    """

    def __init__(
        self,
        roots: Iterable[containers.Container],
        awaited: Iterable[Any] = (),
        own: containers.Container | None = None,
    ) -> None:
        """``awaited`` are async providers for which somebody gives the thing itself before the first run.

        ``own`` is the program's container: jobs get what is in it, and errors do not list that.
        """
        self._users = [named for root in roots for named in walk(root)]
        self._named = [*(walk(own) if own is not None else ()), *self._users]
        self._awaited = {id(provider) for provider in awaited}
        self._plans: dict[type, Plan] = {}

    def check(self, definitions: Iterable[JobDefinition]) -> None:
        """Resolve the types of all jobs; raise for the first field that cannot be given, or in more than one way."""
        for definition in definitions:
            self._plans[definition.cls] = self._plan(definition)

    def scope(self, definition: JobDefinition) -> AbstractAsyncContextManager[dict[str, Any]]:
        """Open the scope of one run. To be used in a context of its own: one instance a run lives in the context."""
        plan = self._plans.get(definition.cls)
        if plan is None:
            plan = self._plans[definition.cls] = self._plan(definition)
        if plan.per_run or plan.makes_anew():
            return self._entered(definition, plan)
        return nullcontext({field: _made(definition, field, provider) for field, provider in plan.fields})

    def check_lasting(self, definition: JobDefinition) -> None:
        """Raise for what ``give`` could not give."""
        self._lasting(definition)

    def give(self, definition: JobDefinition) -> dict[str, Any]:
        """Return the dependencies of what lives as long as the program, which no run is the owner of."""
        plan = self._lasting(definition)
        return {field: _made(definition, field, provider) for field, provider in plan.fields}

    def _lasting(self, definition: JobDefinition) -> Plan:
        plan = self._plan(definition)
        if plan.per_run:
            why = f"it lives as long as the program, and needs {self._name(plan.per_run[0])}, which lives for one run"
            raise JobDefinitionError(job=definition.name, why=why)
        return plan

    @asynccontextmanager
    async def _entered(self, definition: JobDefinition, plan: Plan) -> AsyncIterator[dict[str, Any]]:
        async with AsyncExitStack() as stack:
            for provider in plan.per_run:
                value = provider()
                if lives_per_run(effective(provider)):
                    await _enter(stack, value)
            given = {}
            for field, provider in plan.fields:
                given[field] = _made(definition, field, provider)
                if _is_factory(provider):
                    await _enter(stack, given[field])
            yield given

    def _plan(self, definition: JobDefinition) -> Plan:
        fields = tuple((field, self._find(definition, field, spec)) for field, spec in definition.dependencies.items())
        for field, provider in fields:
            self._check(definition, field, provider)
        per_run = tuple(filter(lives_per_run, below(provider for _, provider in fields)))
        return Plan(fields, per_run)

    def _check(self, definition: JobDefinition, field: str, top: Any) -> None:
        """Refuse what would fail, or give a future, in every run."""
        for provider in below([top]):
            if is_unbound(provider):
                why = f"'{field}' needs {self._name(provider)}, for which nothing was given"
                raise JobDefinitionError(job=definition.name, why=why)
            if is_async(provider) and id(provider) not in self._awaited:
                raise _asynchronous(definition, field, self._name(provider))

    def _find(self, definition: JobDefinition, field: str, spec: DependencySpec) -> Any:
        wanted = type_name(spec.type)
        matching = _by_name(self._named, spec.provider) if spec.provider else _by_type(self._named, spec.type)
        matching = list({id(named.source): named for named in reversed(matching)}.values())
        if not matching:
            what = f'{wanted} from provider "{spec.provider}"' if spec.provider else wanted
            raise UnsatisfiedDependency(job=definition.name, field=field, type=what, known=self._known(spec.type))
        if len(matching) > 1:
            names = ", ".join(sorted(named.name for named in matching))
            raise AmbiguousDependency(job=definition.name, field=field, type=wanted, providers=names)
        found = matching[0]
        if spec.provider and _contradicts(found, spec.type):
            gives = type_name(found.gives[0])
            raise JobDefinitionError(
                job=definition.name, why=f"'{field}' is a {wanted}, and {found.name} gives a {gives}"
            )
        return found.provider

    def _known(self, wanted: Any) -> str:
        """Name the types there are, those that only look like the wanted one in full, and who says none."""
        alike = type_name(wanted)
        types = {given for named in self._users for given in named.gives}
        names = {f"{one.__module__}.{alike}" if type_name(one) == alike else type_name(one) for one in types}
        known = f"known: {', '.join(sorted(names))}" if names else "there are no providers"
        if silent := ", ".join(sorted(named.name for named in self._users if says_nothing(named))):
            known += f"; {silent}: annotate what it returns, or yields"
        return known

    def _name(self, provider: Any) -> str:
        return next((named.name for named in self._named if named.provider is provider), str(provider))


def type_name(hint: Any) -> str:
    """Return a type as its author wrote it, without modules."""
    return hint.__qualname__ if isinstance(hint, type) and get_origin(hint) is None else str(hint)


def _by_name(named: list[Named], name: str) -> list[Named]:
    """Return the providers whose dotted names end with ``name``: those that are least deep."""
    found = [one for one in named if one.name == name or one.name.endswith(f".{name}")]
    least = min((one.name.count(".") for one in found), default=0)
    return [one for one in found if one.name.count(".") == least]


def _by_type(named: list[Named], wanted: Any) -> list[Named]:
    """Return the providers that give the very type that is wanted, or else those that give what derives from it."""
    exact = [one for one in named if wanted in one.gives]
    return exact or [one for one in named if any(derives(given, wanted) for given in one.gives)]


def _contradicts(named: Named, wanted: Any) -> bool:
    if not named.gives or not isinstance(wanted, type) or wanted is Any or getattr(wanted, "_is_protocol", False):
        return False
    return not any(derives(given, wanted) for given in named.gives)


def _asynchronous(definition: JobDefinition, field: str, provider: str) -> JobDefinitionError:
    why = (
        f"'{field}' needs {provider}, which is async, and a job gets plain things. Make it a Resource of a container "
        "in background_jobs.containers, which is opened at the start; in an application of your own open it in the "
        "lifespan and give it to a Dependency"
    )
    return JobDefinitionError(job=definition.name, why=why)


def _is_factory(provider: Any) -> bool:
    return isinstance(effective(provider), providers.Factory)


def _made(definition: JobDefinition, field: str, provider: Any) -> Any:
    value = provider()
    if isinstance(value, CoroutineType) or asyncio.isfuture(value):  # and not every awaitable: some clients are
        value.close() if isinstance(value, CoroutineType) else value.cancel()
        raise _asynchronous(definition, field, str(provider))
    return value


async def _enter(stack: AsyncExitStack, value: Any) -> None:
    """Enter what is a context manager; what it yields is itself, as for sessions and transactions."""
    if hasattr(type(value), "__aenter__"):
        await stack.enter_async_context(value)
    elif hasattr(type(value), "__enter__"):
        stack.enter_context(value)
