"""Workers are validated, changed by patches, and follow their provider through one state machine."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from domain.monitoring.worker import TRANSITIONS, Worker, WorkerPatch, WorkerRequest, WorkerStatus

NOW = datetime(2026, 11, 22, 8, tzinfo=UTC)
REQUEST: dict[str, Any] = {"id": "w1", "name": "web one", "provider": "local"}


def worker(**facts: Any) -> Worker:
    return Worker.register(WorkerRequest.model_validate({**REQUEST, **facts}), "w1", NOW)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"id": ""}, "id"),
        ({"id": ".hidden"}, "id"),
        ({"id": "a/b"}, "id"),
        ({"id": "w1\n"}, "id"),
        ({"id": "x" * 129}, "id"),
        ({"name": "  "}, "name"),
        ({"name": None}, "name"),
        ({"provider": "Local!"}, "provider"),
        ({"region": ""}, "region"),
        ({"labels": {"1st": "x"}}, "labels"),
        ({"labels": {"env": 1}}, "labels"),
        ({"labels": {f"l{n}": "x" for n in range(65)}}, "labels"),
        ({"status": "running"}, "status"),
    ],
)
def test_a_bad_request_is_refused_and_the_field_named(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError) as caught:
        WorkerRequest.model_validate({**REQUEST, **changes})
    assert says in {str(error["loc"][0]) for error in caught.value.errors()}


def test_ids_of_every_allowed_sort() -> None:
    for name in ("w", "i-0abc", "eu.west:1_x", "9" * 128):
        assert WorkerRequest.model_validate({**REQUEST, "id": name}).id == name


def test_a_new_worker_was_not_looked_at_yet() -> None:
    new = worker(labels={"env": "prod"})
    assert (new.status, new.created_at, new.labels) == (WorkerStatus.UNKNOWN, NOW, {"env": "prod"})
    assert Worker.model_validate_json(new.model_dump_json()) == new


def test_a_patch_leaves_alone_what_it_does_not_name() -> None:
    before = worker(region="eu-west-1", labels={"env": "prod", "old": "x"})
    after = before.change(WorkerPatch.model_validate({"region": None, "labels": {"old": None, "tier": "1"}}))
    assert (after.region, after.labels, after.name) == (None, {"env": "prod", "tier": "1"}, "web one")
    assert before.change(WorkerPatch()) == before


@pytest.mark.parametrize("patch", [{"name": None}, {"labels": None}, {"id": "w2"}, {"provider": "aws"}, {"name": ""}])
def test_a_bad_patch_is_refused(patch: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        WorkerPatch.model_validate(patch)


def test_a_patch_cannot_grow_labels_without_end() -> None:
    full = worker(labels={f"l{n}": "x" for n in range(64)})
    with pytest.raises(ValidationError):
        full.change(WorkerPatch(labels={"one_more": "x"}))


def test_what_is_seen_becomes_the_status() -> None:
    later = NOW + timedelta(seconds=5)
    seen = worker().observe(WorkerStatus.RUNNING, "it answered", later)
    assert (seen.status, seen.status_reason, seen.status_since) == (WorkerStatus.RUNNING, "it answered", later)
    assert seen.observe(WorkerStatus.RUNNING, "again", later + timedelta(seconds=5)) is seen


def test_there_is_no_way_back_from_the_end() -> None:
    ending = worker().observe(WorkerStatus.SHUTTING_DOWN, "", NOW)
    assert ending.observe(WorkerStatus.RUNNING, "", NOW) is ending
    ended = ending.observe(WorkerStatus.TERMINATED, "", NOW)
    assert all(ended.observe(status, "", NOW) is ended for status in WorkerStatus)


def test_the_table_knows_every_status_and_none_becomes_unknown() -> None:
    assert set(TRANSITIONS) == set(WorkerStatus)
    assert all(WorkerStatus.UNKNOWN not in to and status not in to for status, to in TRANSITIONS.items())


def test_selectors_ask_for_every_label() -> None:
    chosen = worker(labels={"env": "prod", "tier": "1"})
    assert chosen.is_selected_by({})
    assert chosen.is_selected_by({"env": "prod"})
    assert not chosen.is_selected_by({"env": "prod", "tier": "2"})
    assert not chosen.is_selected_by({"zone": ""})
