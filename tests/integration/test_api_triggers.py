"""Calendars and combinations through the API: made, shown in words with what is next, changed, fired and refused."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from api_kit import Api, problem_type
from support import wait_until

CALENDAR = {"calendar": {"months": 1, "day": 31, "hour": 9, "missing_day": "last"}, "timezone": "Europe/Brussels"}
BOTH = {"both": [{"interval_s": 7200}, {"cron": "* * * * 1-5"}], "timezone": "Europe/Brussels"}
EITHER = {"either": [{"cron": "0 9 * * *", "timezone": "Asia/Tokyo"}, {"calendar": {"days": 2}}], "timezone": "UTC"}


@pytest.fixture
async def api(redis_url: str, namespace: str) -> AsyncIterator[Api]:
    async with Api(redis_url, namespace) as running:
        yield running


def note(trigger: Any, schedule_id: str = "s", **more: Any) -> dict[str, Any]:
    return {"id": schedule_id, "name": "Note", "trigger": trigger, **more}


@pytest.mark.parametrize(
    ("trigger", "said"),
    [
        (CALENDAR, "every month on the 31st at 09:00 (on the last day where there is none), Europe/Brussels"),
        (BOTH, "every 2 hours on weekdays, Europe/Brussels"),
        ({"cron": "0 */2 * * 1-5", "timezone": "Europe/Brussels"}, "every 2 hours on weekdays, Europe/Brussels"),
        ({"interval_s": 5400.0}, "every 90 minutes"),
    ],
)
async def test_a_trigger_is_shown_in_words_with_the_next_five_times(api: Api, trigger: Any, said: str) -> None:
    made = await api.post("/schedules", note(trigger))
    assert made.status_code == 201, made.text
    body = made.json()
    assert body["when"] == said
    assert len(body["next_fires"]) == 5
    assert body["next_fires"][0] == body["next_fire"]
    assert body["next_fires"] == sorted(set(body["next_fires"]))
    assert (await api.get("/schedules/s")).json() == body
    again = await api.post("/schedules", note(body["trigger"]))
    assert (again.status_code, again.json()["generation"]) == (200, 1), "what is shown can be sent again"
    (listed,) = (await api.get("/schedules")).json()["items"]
    assert (listed["when"], listed["next_fires"]) == (said, None)


async def test_the_next_times_end_with_the_schedule_and_rest_with_it(api: Api) -> None:
    end = (datetime.now(UTC) + timedelta(seconds=2.5 * 3600)).isoformat()
    made = (await api.post("/schedules", note({"interval_s": 3600}, policy={"end": end, "jitter_s": 60}))).json()
    assert len(made["next_fires"]) == 2
    assert made["next_fires"][0] == made["next_fire"] != made["next_run_time"]
    paused = (await api.post("/schedules/s/pause")).json()
    assert (paused["next_fires"], paused["when"]) == ([], "every hour")
    assert len((await api.post("/schedules/s/resume")).json()["next_fires"]) == 2


async def test_times_far_ahead_can_be_told_to_the_end(api: Api) -> None:
    start = "9998-06-01T00:00:00Z"
    made = await api.post("/schedules", note({"interval_s": 300 * 86_400}, policy={"start": start}))
    assert made.json()["next_fires"] == [start]


@pytest.mark.parametrize("trigger", [EITHER, BOTH, CALENDAR])
async def test_a_patch_changes_the_kind_of_trigger_there_and_back(api: Api, trigger: Any) -> None:
    await api.post("/schedules", note({"interval_s": 60}))
    changed = (await api.patch("/schedules/s", {"trigger": trigger})).json()
    assert changed["generation"] == 2
    kind = next(iter(trigger))
    assert kind in changed["trigger"]
    kept = (await api.patch("/schedules/s", {"policy": {"jitter_s": 1}})).json()
    assert (kept["trigger"], kept["next_fire"]) == (changed["trigger"], changed["next_fire"])
    back = (await api.patch("/schedules/s", {"trigger": {"interval_s": 60}})).json()
    assert back["trigger"] == {"interval_s": 60}


async def test_a_program_names_the_new_trigger_alone(api: Api) -> None:
    await api.post("/schedules", note({"interval_s": 60}))
    scheduler = api.instance.scheduler
    await scheduler.modify("s", {"calendar": {"months": 1, "day": 31}})
    assert (await api.get("/schedules/s")).json()["when"].startswith("every month on the 31st")
    await scheduler.modify("s", {"either": [{"interval": 7200}, {"cron": "0 9 * * *"}], "timezone": "Asia/Tokyo"})
    assert (await api.get("/schedules/s")).json()["when"] == "every 2 hours, or every day at 09:00, Asia/Tokyo"
    await scheduler.modify("s", {"interval": 60})
    assert (await api.get("/schedules/s")).json()["trigger"] == {"interval_s": 60}


REFUSED: list[tuple[Any, str, list[Any]]] = [
    ({"calendar": {}}, "give years and months, or weeks and days", ["calendar"]),
    ({"calendar": {"months": 1, "day": 32}}, "less than or equal to 31", ["calendar", "day"]),
    ({"calendar": {"months": 1.5}}, "valid integer", ["calendar", "months"]),
    ({"calendar": {"months": 1, "monthday": 3}}, "this is not known here", ["calendar", "monthday"]),
    ({"calendar": "monthly"}, "valid dictionary", ["calendar"]),
    ({"calendar": {"months": 1}, "timezone": "Mars/Phobos"}, "there is no timezone", ["timezone"]),
    ({"calendar": {"months": 1}, "cron": "* * * * *"}, "give one of interval_s, cron, calendar", []),
    ({"either": []}, "at least 2 items", ["either"]),
    ({"either": [{"cron": "0 9 * * *"}] * 6}, "at most 5 items", ["either"]),
    ({"either": [{"cron": "0 9 * * *"}, {"both": []}]}, "this is not known here", ["either", 1, "both"]),
    ({"either": [{"cron": "0 9 * * *"}, {}]}, "combinations do not nest", ["either", 1]),
    ({"both": [{"interval_s": 60}, {"interval_s": 0}]}, "greater than or equal to 0.01", ["both", 1, "interval_s"]),
    ({"both": [{"interval_s": 60}, {"interval_s": "5"}]}, "valid number", ["both", 1, "interval_s"]),
    ({"both": [{"interval_s": 60, "timezone": "UTC"}] * 2}, "a timezone goes with cron or calendar", ["both", 0]),
    ({"both": [{"cron": "0 9 * * *", "timezone": "x"}] * 2}, "there is no timezone", ["both", 0, "timezone"]),
    ({"both": [{"cron": "0 9 * * *"}, {"cron": "0 99 * * *"}]}, "'99' is no hour", []),
    ({"both": [{"cron": "0 9 * * *"}, {"cron": "0 10 * * *"}]}, "must fire at the very same moment", []),
    ({"both": [{"interval_s": 86_399.99}, {"interval_s": 31_535_999.97}]}, "less often than once in a hundred", []),
    ({"calendar": {"years": 1, "start_date": "2026-02-30"}}, "valid date", ["calendar", "start_date"]),
    ({}, "give one of interval_s, cron, calendar, either and both", []),
]


@pytest.mark.parametrize(("trigger", "why", "place"), REFUSED)
async def test_what_is_wrong_with_a_trigger_is_told_with_its_place(
    api: Api, trigger: Any, why: str, place: list[Any]
) -> None:
    for answer in (
        await api.post("/schedules", note(trigger)),
        await api.post("/schedules", note({"interval_s": 60}, "there")),
        await api.patch("/schedules/there", {"trigger": trigger}),
    ):
        if answer.status_code == 201:
            continue
        assert answer.status_code == 422, answer.text
        assert problem_type(answer) in ("invalid-request", "invalid-trigger")
        errors = answer.json()["errors"]
        assert any(why in error["msg"] and error["loc"] == ["body", "trigger", *place] for error in errors), errors
    assert (await api.get("/schedules/s")).status_code == 404


async def test_a_combination_fires(redis_url: str, namespace: str) -> None:
    async with Api(redis_url, namespace, executes=True) as api:
        await api.post("/schedules", note({"either": [{"interval_s": 0.05}, {"cron": "0 0 29 2 *"}]}))
        await api.post("/schedules", note({"both": [{"interval_s": 0.02}, {"interval_s": 0.05}]}, "b"))
        await wait_until(lambda: len(api.ledger.of("s")) > 5 and len(api.ledger.of("b")) > 3)
        assert {entry.fire_time.microsecond % 100_000 for entry in api.ledger.of("b")} == {0}
        made = (await api.post("/schedules/b/pause")).json()
        minute = datetime.fromisoformat(made["created_at"]).replace(second=0, microsecond=0)
        assert all((entry.fire_time - minute).total_seconds() * 10 % 1 == 0 for entry in api.ledger.of("b"))


async def test_a_calendar_backfills_what_lies_behind_its_first_date(redis_url: str, namespace: str) -> None:
    async with Api(redis_url, namespace, executes=True) as api:
        trigger = {"calendar": {"months": 1, "start_date": "2026-01-31", "missing_day": "last", "hour": 9}}
        await api.post("/schedules", note(trigger))
        asked = {"since": "2026-01-01T00:00:00Z", "until": "2026-04-30T09:00:00Z"}
        made = await api.post("/schedules/s/backfill", asked)
        assert made.status_code == 202, made.text
        await wait_until(lambda: len(api.ledger.of("s")) == 4)
        fired = sorted(f"{entry.fire_time:%m-%d %H}" for entry in api.ledger.of("s"))
        assert fired == ["01-31 09", "02-28 09", "03-31 09", "04-30 09"]


async def test_a_schedule_of_another_kind_keeps_its_trigger_when_its_worker_is_monitored_anew(api: Api) -> None:
    await api.post("/workers", {"id": "w", "name": "W", "provider": "scripted"})
    await api.put("/workers/w/monitoring", {"interval_s": 60})
    changed = await api.patch("/schedules/worker-metrics-w", {"trigger": BOTH})
    assert changed.status_code == 200, changed.text
    paused = await api.put("/workers/w/monitoring", {"paused": True})
    assert paused.status_code == 200, paused.text
    assert (await api.get("/schedules/worker-metrics-w")).json()["trigger"] == changed.json()["trigger"]
    rhythm = await api.put("/workers/w/monitoring", {"interval_s": 30})
    assert rhythm.json()["interval_s"] == 30
