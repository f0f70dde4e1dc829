"""Whether the store and its model agree: schedules, runs and their places, counters, history, events."""

from typing import Any

from domain.runs.run import RunReason
from integration.model_hands import JOBS, Seen, Shared
from integration.model_of_store import StoreModel


def compare(shared: Shared, model: StoreModel) -> Seen:
    """Look at the store, fail where it differs from the model, and return what was seen; empties ``model.events``."""
    events, model.events = model.events, []
    seen = shared.look(sorted({*model.runs, *(event["about"] for event in events)}))
    assert seen.states == {name: schedule.text for name, schedule in model.schedules.items()}
    assert seen.looks == {name: one.look for name, one in model.schedules.items() if one.look}
    _compare_runs(seen, model)
    _compare_statistics(seen, model)
    _compare_events(seen.events, events)
    return seen


def _compare_runs(seen: Seen, model: StoreModel) -> None:
    assert seen.places == {run.id: run.place for run in model.runs.values() if run.place != "done"}
    assert set(seen.runs) == set(model.runs)
    for run in model.runs.values():
        found = seen.runs[run.id]
        assert (found["status"], int(found["attempt"])) == (run.status, run.attempt), run
        assert int(found.get("retries", 0)) == run.retries, run
        assert int(found.get("takeovers", 0)) == run.takeovers, run
        if run.place != "done":
            assert found.get("owner", "") == run.owner, run
            assert ("stopped" in found) == run.stopped, run
    for job in JOBS:
        assert seen.backlog[job] == model.backlog.get(job, [])
        # A one-shot is found by its id, and needs no such note.
        assert seen.active[job] == {run.id for run in model.active(job) if run.reason is not RunReason.ONE_SHOT}
        # Nobody waits while there is a place.
        assert not model.backlog.get(job) or len(model.executing(job)) >= model.limits.get(job, 1)


def _compare_statistics(seen: Seen, model: StoreModel) -> None:
    assert set(seen.statistics) == set(model.schedules)
    for job in JOBS:
        schedule = model.schedules.get(job)
        assert seen.history[job] == (schedule.history if schedule else [])
        if schedule is not None:
            found = seen.statistics[job]
            assert {name: n for name, n in found.counts if n} == +schedule.counts
            assert found.last_outcome == schedule.outcome


def _compare_events(seen: list[dict[str, Any]], expected: list[dict[str, Any]]) -> None:
    """Compare what was announced, in the order of each run and schedule; facts that the model names must agree."""
    told: dict[str, list[dict[str, Any]]] = {}
    for event in seen:
        about = event["id"] if event["topic"].startswith("schedule.") else event["run_id"]
        told.setdefault(f"{event['topic'][:3]} {about}", []).append(event)
    for event in expected:
        facts = {name: fact for name, fact in event.items() if name != "about"}
        found = told.get(f"{event['topic'][:3]} {event['about']}") or [{}]
        assert found.pop(0).items() >= facts.items(), (facts, seen)
    assert not [rest for rest in told.values() if rest]
