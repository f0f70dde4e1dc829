"""The schedules that a process has planned before, so that nothing of them is read twice."""

import logging
from collections.abc import Callable, Iterator

from application.runs.registry import JobRegistry
from application.scheduling.compiled import compile_schedule
from domain.errors import RoundsmanError
from domain.scheduling.descriptor import RecurrentTaskDescriptor
from domain.scheduling.schedule import ScheduleState
from infrastructure.scheduling.prepared import Prepared, prepare

log = logging.getLogger(__name__)

CACHE_LIMIT = 100_000


class KnownSchedules:
    """Schedules by id, each ready for planning. For one thread.

    ``definitions`` reads the JSON of schedules from the store, None for one that is not there.
    """

    def __init__(
        self,
        definitions: Callable[[list[str]], list[str | None]],
        registry: JobRegistry,
        default_timeout_s: float,
    ) -> None:
        self._definitions = definitions
        self._registry = registry
        self._default_timeout_s = default_timeout_s
        self._by_id: dict[str, Prepared] = {}

    def prepare(self, taken: list[tuple[str, str]]) -> list[Prepared]:
        """Return what was taken, ready for planning; what this process cannot read or plan is left to others."""
        found = []
        unknown = []
        for schedule_id, text in taken:
            known = self._by_id.get(schedule_id)
            if known is not None and known.text == text:
                found.append(known)
            else:
                unknown.append((schedule_id, text))
        if unknown:
            found.extend(self._read(unknown))
        return found

    def _read(self, taken: list[tuple[str, str]]) -> Iterator[Prepared]:
        """Read states; the definitions too, in one call, of what is not known in its present generation."""
        readable = _readable(taken)
        wanted = [
            schedule_id
            for schedule_id, _, state in readable
            if (known := self._by_id.get(schedule_id)) is None or not known.is_of(state)
        ]
        if len(self._by_id) > CACHE_LIMIT:
            self._by_id.clear()
            wanted = [schedule_id for schedule_id, _, _ in readable]
        texts = self._definitions(wanted) if wanted else []
        definitions = dict(zip(wanted, texts, strict=True))
        for schedule_id, text, state in readable:
            if schedule_id in definitions:
                self._by_id.pop(schedule_id, None)
                self._compile(definitions[schedule_id], state, text)
            if (known := self._by_id.get(schedule_id)) is not None:
                known.take(text, state)
                yield known

    def _compile(self, definition: str | None, state: ScheduleState, text: str) -> None:
        if definition is None:
            return
        try:
            descriptor = RecurrentTaskDescriptor.model_validate_json(definition)
            compiled = compile_schedule(descriptor, state, self._registry, self._default_timeout_s)
            self._by_id[descriptor.id] = prepare(compiled, state, text)
        except (RoundsmanError, ValueError) as error:
            log.error("a schedule is left to others: this process cannot plan it: %s", error)  # noqa: TRY400


def _readable(taken: list[tuple[str, str]]) -> list[tuple[str, str, ScheduleState]]:
    """Return what was taken with its states; one that another version wrote must not stop the others."""
    found = []
    for schedule_id, text in taken:
        try:
            found.append((schedule_id, text, ScheduleState.model_validate_json(text)))
        except ValueError as error:
            log.error("schedule %s is left to others: its state cannot be read: %s", schedule_id, error)  # noqa: TRY400
    return found
