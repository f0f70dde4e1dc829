"""Dependencies in a test: what is given by hand comes first, then the containers, as in the program."""

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from dependency_injector import containers

from domain.runs.job import DependencySpec, JobDefinition
from infrastructure.runs.injection import ContainerInjector
from testing.errors import NobodyAsks


class KitInjector:
    """Implements ``application.runs.injection.Injector``.

    By hand, a dependency is given by the name of its field, or by the type that fields ask for; the type need not fit.
    """

    def __init__(self, by_hand: Mapping[str | type, object], roots: Iterable[containers.Container]) -> None:
        self._by_hand = dict(by_hand)
        self._containers = ContainerInjector(roots)

    def check(self, definitions: Iterable[JobDefinition]) -> None:
        """Raise for the first job that cannot be satisfied, as the program does when it starts.

        Raises ``NobodyAsks`` for what was given by hand and fits no field of any job: it may be misspelt.
        """
        known = list(definitions)
        asked: set[Any] = {name for one in known for name in one.dependencies}
        asked.update(spec.type for one in known for spec in one.dependencies.values())
        for given in self._by_hand:
            if given not in asked:
                wanted = sorted({f"{one.name}.{name}" for one in known for name in one.dependencies})
                name = given if isinstance(given, str) else given.__qualname__
                raise NobodyAsks(given=name, wanted=", ".join(wanted) or "nothing")
        self._containers.check(self._rest(definition) for definition in known)

    @asynccontextmanager
    async def scope(self, definition: JobDefinition) -> AsyncIterator[dict[str, Any]]:
        """Open the scope of one run."""
        given = {
            name: self._by_hand[name] if name in self._by_hand else self._by_hand[spec.type]
            for name, spec in definition.dependencies.items()
            if self._is(name, spec)
        }
        async with self._containers.scope(self._rest(definition)) as found:
            yield {**found, **given}

    def _rest(self, definition: JobDefinition) -> JobDefinition:
        """Return the definition without what is given by hand."""
        rest = {name: spec for name, spec in definition.dependencies.items() if not self._is(name, spec)}
        return replace(definition, dependencies=rest)

    def _is(self, name: str, spec: DependencySpec) -> bool:
        return name in self._by_hand or (isinstance(spec.type, type) and spec.type in self._by_hand)
