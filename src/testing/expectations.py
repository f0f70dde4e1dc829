"""What a test expects of jobs. A failure prints what was found instead."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from application.scheduling.bus import Descriptor
from domain.events.event import Event
from domain.events.topics import TopicFilter
from domain.runs.run import RunStatus
from domain.scheduling.descriptor import RecurrentTaskDescriptor, ScheduledTaskDescriptor
from testing.events import occurred
from testing.outcome import JobRun

SHOWN = 20
"""At most so many things are printed, the latest."""


class Expectations:
    """The assertions of a kit. Where ``data`` is expected, more fields than those named may be there."""

    @property
    def scheduled(self) -> list[Descriptor]:
        """What was scheduled."""
        raise NotImplementedError

    @property
    def published(self) -> list[Event]:
        """What was published."""
        raise NotImplementedError

    def runs(self, job: type | str | None = None) -> list[JobRun]:
        """Return runs."""
        raise NotImplementedError

    def assert_scheduled(
        self,
        job: type | str,
        data: Mapping[str, Any] | None = None,
        *,
        id: str | None = None,  # noqa: A002 - the field's name
        interval: float | None = None,
        cron: str | None = None,
        at: datetime | None = None,
    ) -> Descriptor:
        """Return the last descriptor that was scheduled for a job (its class or name) and has all that is named."""
        wanted = {"id": id, "interval": interval, "cron": cron, "scheduled_at": at}
        wanted = {name: value for name, value in wanted.items() if value is not None}
        for found in reversed(self.scheduled):
            fits = all(getattr(found, name, None) == value for name, value in wanted.items())
            if found.name == _name(job) and fits and _holds(found.data, data):
                return found
        expected = ", ".join([_name(job), *(f"{name}={value}" for name, value in wanted.items()), *_said(data)])
        raise _nothing("was scheduled", expected, [_in_words(found) for found in self.scheduled])

    def assert_not_scheduled(self, job: type | str | None = None) -> None:
        """Fail if anything was scheduled: for that job, or at all."""
        found = [_in_words(one) for one in self.scheduled if job is None or one.name == _name(job)]
        if found:
            raise AssertionError(_listed("Nothing was to be scheduled, and this was", found))

    def assert_published(self, topic: str, data: Mapping[str, Any] | None = None) -> Event:
        """Return the last event of a topic (or pattern, ``job.*``) whose data holds ``data``."""
        wanted = TopicFilter([topic])
        for event in reversed(self.published):
            if wanted.matches(event.topic) and _holds(event.data, data):
                return event
        raise _nothing("was published", ", ".join([topic, *_said(data)]), [occurred(one) for one in self.published])

    def assert_not_published(self, topic: str) -> None:
        """Fail if an event of a topic (or pattern) was published."""
        wanted = TopicFilter([topic])
        found = [occurred(event) for event in self.published if wanted.matches(event.topic)]
        if found:
            raise AssertionError(_listed(f"No {topic} was to be published, and this was", found))

    def assert_ran(
        self, job: type | str, times: int | None = None, *, status: RunStatus | str | None = RunStatus.SUCCEEDED
    ) -> list[JobRun]:
        """Return the runs of a job (or schedule id) with that status (None: any), if there are ``times``, or some."""
        all_runs = self.runs(job)
        found = [run for run in all_runs if status is None or run.status == status]
        if len(found) == times or (times is None and found):
            return found
        expected = f"{_name(job)} was to be {status or 'run'} {'' if times is None else f'{times} times'}".rstrip()
        others = [run.in_short() for run in self.runs()]
        tracebacks = [run.described() for run in all_runs if run.exception is not None][-1:]
        text = _listed(f"{expected}, and that is so of {len(found)} runs. All runs", others)
        raise AssertionError("\n".join([text, *tracebacks]))


def _name(job: type | str) -> str:
    return job if isinstance(job, str) else str(job.__definition__.name)  # type: ignore[attr-defined]


def _holds(found: Mapping[str, Any], wanted: Mapping[str, Any] | None) -> bool:
    return all(name in found and found[name] == value for name, value in (wanted or {}).items())


def _said(data: Mapping[str, Any] | None) -> list[str]:
    return [] if data is None else [f"data {dict(data)}"]


def _nothing(what: str, expected: str, found: list[str]) -> AssertionError:
    return AssertionError(_listed(f"Nothing {what} that fits {expected}. What {what}", found))


def _listed(head: str, found: list[str]) -> str:
    lines = [f"  {line}" for line in found[-SHOWN:]] or ["  (nothing)"]
    more = [f"  ... and {len(found) - SHOWN} before these"] if len(found) > SHOWN else []
    return "\n".join([f"{head}:", *more, *lines])


def _in_words(found: Descriptor) -> str:
    data = json.dumps(found.data, default=str)
    match found:
        case ScheduledTaskDescriptor():
            return f"{found.name} {found.id!r} once, {found.scheduled_at or 'now'}, data {data}"
        case RecurrentTaskDescriptor():
            named = found.model_dump(exclude_defaults=True, exclude={"id", "name", "data", "type", "policy", "version"})
            when = ", ".join(f"{name} {value}" for name, value in named.items())
            return f"{found.name} {found.id!r} again and again, {when}, data {data}"
