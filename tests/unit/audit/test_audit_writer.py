"""The note that is made of a deed."""

import json
from typing import Any

from application.audit.writing import CHANGES, JOBS, LARGEST, AuditRetention, AuditWriter
from application.runs.asking import Actor, Note, asked_by, asking
from application.scheduling.deeds import Deed


def write(deed: Deed, **retention: Any) -> Note:
    return AuditWriter("host-1-aa", AuditRetention(**retention))(deed)


def facts(note: Note) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(str(note.words[-1]))
    return found


def test_code_in_a_process_goes_by_the_instance() -> None:
    note = write(Deed("schedule.run", "s1", by="program"), entries_kept=7, kept_s=1.5)
    assert note.place == CHANGES
    assert note.words[:-1] == (7, 1500, "schedule.run", "s1", "host-1-aa")
    assert facts(note) == {"via": "program"}


def test_whoever_the_task_serves_is_named_with_what_it_says_of_itself() -> None:
    with asked_by(Actor("ops", "cli", "ann@laptop")):
        note = write(Deed("schedule.paused", "s1", by="ops", reason="moving redis://a:b@c"))
    assert note.words[4] == "ops"
    assert facts(note) == {"via": "cli", "client": "ann@laptop", "reason": "moving redis://(hidden)@c"}
    assert asking() is None


def test_a_caller_may_name_somebody_else() -> None:
    with asked_by(Actor("nightly", "job", run_id="nightly@1.5")):
        note = write(Deed("schedule.paused", "s1", by="the duty officer"))
    assert note.words[4] == "the duty officer"
    assert facts(note) == {"via": "job", "run_id": "nightly@1.5"}


def test_one_shots_have_a_log_of_their_own() -> None:
    assert write(Deed("job.scheduled", "o1", of_job=True)).place == JOBS


def test_an_entry_that_would_be_huge_says_so_instead() -> None:
    many = {f"field{number}": "é" * 5000 for number in range(40)}
    note = write(Deed("schedule.created", "s1", after=many))
    assert len(str(note.words[-1])) < LARGEST
    assert "are left out" in facts(note)["facts"]["too_large"]


def test_a_name_that_no_store_can_keep_does_not_break_a_change() -> None:
    name = str(write(Deed("schedule.paused", "s1", by="\ud800" + "x" * 9000)).words[4])
    assert name.encode().startswith(b"\\ud800xxx")
    assert len(name) < 300
