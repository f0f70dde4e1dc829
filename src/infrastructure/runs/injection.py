"""Give jobs their dependencies by type, from dependency-injector containers, in a fresh scope for every run."""

import inspect
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, get_args, get_origin, get_type_hints

from dependency_injector import containers, providers

from domain.runs.errors import AmbiguousDependency, JobDefinitionError, UnsatisfiedDependency
from domain.runs.job import DependencySpec, JobDefinition


@dataclass(frozen=True)
class Named:
    """A provider with its dotted name in the containers and the type that it gives."""

    name: str
    provider: Any
    type: type


class ContainerInjector:
    """Index the providers of some containers by the types they give, once; resolve jobs from the index.

    An exact type beats a base class; ``Inject("name")`` names a provider. What lives per run is a ``Factory`` or a
    ``ContextLocalSingleton``: when such a thing is a context manager, it is entered before the body and left after it,
    with the exception that ended the body. Singletons are left alone.
    """

    def __init__(self, roots: Iterable[containers.Container]) -> None:
        self._named = list(_unique(named for root in roots for named in _walk(root, "")))
        self._plans: dict[type, list[tuple[str, Any]]] = {}
        self._scoped: dict[type, list[Any]] = {}

    def check(self, definitions: Iterable[JobDefinition]) -> None:
        """Resolve the types of all jobs; raise for the first field that nothing, or more than one thing, gives."""
        for definition in definitions:
            plan = [(field, self._find(definition, field, spec)) for field, spec in definition.dependencies.items()]
            self._plans[definition.cls] = plan
            self._scoped[definition.cls] = _scoped(provider for _, provider in plan)

    @asynccontextmanager
    async def scope(self, definition: JobDefinition) -> AsyncIterator[dict[str, Any]]:
        """Open the scope of one run. To be used in a context of its own: one instance a run lives in the context."""
        plan = self._plans.get(definition.cls)
        if plan is None:
            self.check([definition])
            plan = self._plans[definition.cls]
        if not plan:
            yield {}
            return
        async with AsyncExitStack() as stack:
            for provider in self._scoped[definition.cls]:
                await _enter(stack, provider())
            found = {field: await _give(stack, definition, field, provider) for field, provider in plan}
            yield found

    def _find(self, definition: JobDefinition, field: str, spec: DependencySpec) -> Any:
        type_name = getattr(spec.type, "__name__", str(spec.type))
        if spec.provider is not None:
            matching = [n for n in self._named if n.name == spec.provider or n.name.endswith(f".{spec.provider}")]
        else:
            matching = _nearest(self._named, _plain(spec.type))
        if not matching:
            known = ", ".join(sorted({named.type.__name__ for named in self._named})) or "there are no providers"
            what = f'{type_name} from provider "{spec.provider}"' if spec.provider else type_name
            raise UnsatisfiedDependency(job=definition.name, field=field, type=what, known=f"known: {known}")
        if len(matching) > 1:
            names = ", ".join(sorted(named.name for named in matching))
            raise AmbiguousDependency(job=definition.name, field=field, type=type_name, providers=names)
        return matching[0].provider


def _nearest(named: Iterable[Named], wanted: Any) -> list[Named]:
    """Return the providers whose type is ``wanted``, or else those whose type derives from it."""
    if not isinstance(wanted, type):
        return []
    exact = [one for one in named if one.type is wanted]
    return exact or [one for one in named if wanted in one.type.__mro__]


def _walk(container: Any, prefix: str) -> Iterator[Named]:
    for name, provider in container.providers.items():
        dotted = f"{prefix}{name}"
        if isinstance(provider, providers.Container | providers.DependenciesContainer):
            yield from _walk(provider, f"{dotted}.")
        elif name != "__self__" and (given := given_type(provider)) is not None:
            yield Named(dotted, provider, given)


def _unique(named: Iterable[Named]) -> Iterator[Named]:
    """Drop providers that only pass on another one: a bound Dependency gives what its override does."""
    seen: set[int] = set()
    for one in named:
        source = one.provider
        while isinstance(source, providers.Dependency) and source.last_overriding is not None:
            source = source.last_overriding
        if id(source) not in seen:
            seen.add(id(source))
            yield one


def given_type(provider: Any) -> type | None:
    """Return the type that a provider gives, or None where it does not say."""
    if provider.last_overriding is not None:
        return given_type(provider.last_overriding)
    if isinstance(provider, providers.Dependency):
        return provider.instance_of if provider.instance_of is not object else None
    if isinstance(provider, providers.Object):
        return type(provider.provides)
    provides = getattr(provider, "provides", None)
    if isinstance(provides, type):
        return provides
    return _returned(provides) if callable(provides) else None


def _returned(function: Any) -> type | None:
    try:
        hint = get_type_hints(function).get("return")
    except (NameError, TypeError):
        return None
    if get_origin(hint) is not None and inspect.isgeneratorfunction(function):
        hint = get_args(hint)[0]
    plain = _plain(hint)
    return plain if isinstance(plain, type) else None


def _plain(hint: Any) -> Any:
    return get_origin(hint) or hint


def _scoped(plan: Iterable[Any]) -> list[Any]:
    """Return the providers below ``plan`` that give one instance a run, those that others depend on first."""
    found: list[Any] = []

    def visit(provider: Any, path: tuple[int, ...]) -> None:
        if id(provider) in path:
            return
        for below in provider.related:
            visit(below, (*path, id(provider)))
        if isinstance(provider, providers.ContextLocalSingleton) and provider not in found:
            found.append(provider)

    for provider in plan:
        visit(provider, ())
    return found


async def _give(stack: AsyncExitStack, definition: JobDefinition, field: str, provider: Any) -> Any:
    value = provider()
    if inspect.isawaitable(value):
        why = (
            f"the provider of '{field}' is async; open such things when the program starts and bind them as Dependency"
        )
        raise JobDefinitionError(job=definition.name, why=why)
    if isinstance(provider, providers.Factory):
        await _enter(stack, value)
    return value


async def _enter(stack: AsyncExitStack, value: Any) -> None:
    """Enter what is a context manager; what it yields is itself, as for sessions and transactions."""
    if hasattr(value, "__aenter__"):
        await stack.enter_async_context(value)
    elif hasattr(value, "__enter__"):
        stack.enter_context(value)
