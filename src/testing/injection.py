"""Dependencies in a test: what is given by hand comes first, then the containers, as in the program."""

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from domain.runs.job import DependencySpec, JobDefinition
from testing.errors import NobodyAsks

if TYPE_CHECKING:
    from testing.containers import Containers, KitContainers

Given = Mapping[str | type, object]


class KitInjector:
    """Implements ``application.runs.injection.Injector``.

    By hand, a dependency is given by the name of its field, or by the type that fields ask for; the type need not fit.
    ``own`` is what the kit itself gives, by type.
    """

    def __init__(self, by_hand: Given, container: "Containers", own: Mapping[type, object]) -> None:
        self._by_hand = dict(by_hand)
        self._container = container
        self._own = own
        self._containers: KitContainers | None = None

    def check(self, definitions: Iterable[JobDefinition]) -> None:
        """Raise for the first job that cannot be satisfied, as the program does when it starts.

        Raises ``NobodyAsks`` for what was given by hand and fits no field of any job: it may be misspelt.
        """
        known = list(definitions)
        self._check_names(known)
        rest = [self._rest(definition) for definition in known]
        if self._container == () and not any(definition.dependencies for definition in rest):
            return
        from testing.containers import KitContainers  # only here: it takes longer than most tests of jobs

        self._containers = KitContainers(self._container, self._own)
        try:
            self._containers.check(rest)
        except BaseException:
            self.release()
            raise

    def release(self) -> None:
        """Leave the containers as they were."""
        if self._containers is not None:
            self._containers.release()

    @asynccontextmanager
    async def scope(self, definition: JobDefinition) -> AsyncIterator[dict[str, Any]]:
        """Open the scope of one run."""
        wanted = definition.dependencies.items()
        given = {name: self._given(name, spec) for name, spec in wanted if self._is_given(name, spec)}
        if self._containers is None:
            yield given
            return
        async with self._containers.scope(self._rest(definition)) as found:
            yield {**found, **given}

    def _check_names(self, known: list[JobDefinition]) -> None:
        asked: set[Any] = {name for one in known for name in one.dependencies}
        asked.update(spec.type for one in known for spec in one.dependencies.values())
        for given in self._by_hand:
            if given not in asked:
                wanted = sorted({f"{one.name}.{name}" for one in known for name in one.dependencies})
                name = given if isinstance(given, str) else given.__qualname__
                raise NobodyAsks(given=name, wanted=", ".join(wanted) or "nothing")

    def _rest(self, definition: JobDefinition) -> JobDefinition:
        """Return the definition with what is left to the containers."""
        wanted = definition.dependencies.items()
        return replace(definition, dependencies={n: spec for n, spec in wanted if not self._is_given(n, spec)})

    def _is_given(self, name: str, spec: DependencySpec) -> bool:
        by_hand = name in self._by_hand or (isinstance(spec.type, type) and spec.type in self._by_hand)
        return by_hand or self._is_own(spec)

    def _is_own(self, spec: DependencySpec) -> bool:
        """Tell whether the kit gives it; where there are containers they are asked, in which it may stand twice."""
        return self._container == () and spec.provider is None and spec.type in self._own

    def _given(self, name: str, spec: DependencySpec) -> object:
        if name in self._by_hand:
            return self._by_hand[name]
        return self._by_hand[spec.type] if spec.type in self._by_hand else self._own[spec.type]
