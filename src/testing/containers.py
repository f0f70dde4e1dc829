"""The user's containers in a kit, beside one with what the kit gives; imported only where there are some.

dependency-injector imports FastAPI wherever that is installed, which takes longer than most tests of jobs.
"""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from dependency_injector import containers, providers

from domain.runs.job import JobDefinition
from infrastructure.runs.injection import ContainerInjector
from infrastructure.user_containers import Bindings, given_containers

AnyContainer = containers.Container | type[containers.DeclarativeContainer]
Containers = AnyContainer | Sequence[AnyContainer]


class KitContainers:
    """Give jobs what they ask for, by the code of the program; ``own`` is what the kit gives, by type."""

    def __init__(self, given: Containers, own: Mapping[type, object]) -> None:
        roots = given_containers(given if isinstance(given, Sequence) else [given])
        kit = containers.DynamicContainer()
        self._own = {wanted: providers.Object(value) for wanted, value in own.items()}
        for wanted, provider in self._own.items():
            setattr(kit, wanted.__name__, provider)
        self._bindings = Bindings(roots)
        self._injector = ContainerInjector([*roots, kit])

    def check(self, definitions: Iterable[JobDefinition]) -> None:
        """Give what the kit has to what waits for it in the containers, and check that every job can be satisfied."""
        self._bindings.bind(self._own)
        self._injector.check(definitions)

    def release(self) -> None:
        """Take back what was given to the containers."""
        self._bindings.release()

    @asynccontextmanager
    async def scope(self, definition: JobDefinition) -> AsyncIterator[dict[str, Any]]:
        """Open the scope of one run."""
        async with self._injector.scope(definition) as found:
            yield found
