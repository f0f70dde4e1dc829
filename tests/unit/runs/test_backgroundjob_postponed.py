"""Job classes in modules with postponed annotations."""

from __future__ import annotations

from dataclasses import InitVar, field
from typing import ClassVar

import pytest

from application.scheduling import Injected, RecurrentBackgroundJob, backgroundjob
from domain.runs.errors import JobDefinitionError
from domain.runs.job import DependencySpec


class Clock:
    """A dependency."""


@backgroundjob(task_type="recurrent", slots=True)
class Postponed(RecurrentBackgroundJob):
    label: str
    clock: Injected[Clock]
    hold_s: float = 0.0
    seed: InitVar[int] = 0
    tags: list[str] = field(default_factory=list)
    limit: ClassVar[int] = 3

    def run_every(self) -> None: ...


def test_postponed_annotations_are_read_as_others() -> None:
    assert Postponed.__definition__.dependencies == {"clock": DependencySpec(Clock)}
    assert Postponed.__definition__.load('{"label":"a"}') == {"label": "a", "hold_s": 0.0, "seed": 0, "tags": []}


def test_a_class_within_a_function_may_use_what_the_module_knows() -> None:
    @backgroundjob(task_type="recurrent")
    class Inner(RecurrentBackgroundJob):
        clock: Injected[Clock]
        label: str

        def run_every(self) -> None: ...

    assert Inner.__definition__.dependencies == {"clock": DependencySpec(Clock)}


def test_what_only_the_function_knows_is_a_clear_error() -> None:
    class Local:
        """Known in here alone."""

    with pytest.raises(JobDefinitionError, match=r"name 'Local' is not defined\. Import or define it at module level"):

        @backgroundjob(task_type="recurrent")
        class Inner(RecurrentBackgroundJob):
            local: Injected[Local]

            def run_every(self) -> None: ...
