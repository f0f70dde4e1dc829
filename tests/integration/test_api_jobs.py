"""Jobs over HTTP: submitting, reading, cancelling and retrying them, by whom, and following one to its end."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from api_kit import Api, Follower, problem_type
from support import wait_until

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.fixture
async def api(redis_url: str, namespace: str) -> AsyncIterator[Api]:
    """An API beside an instance that executes."""
    async with Api(redis_url, namespace, executes=True) as started:
        yield started


@pytest.fixture
async def waiting(redis_url: str, namespace: str) -> AsyncIterator[Api]:
    """An API alone: what is submitted waits."""
    async with Api(redis_url, namespace) as started:
        yield started


async def ended(api: Api, job_id: str) -> dict[str, Any]:
    found: list[dict[str, Any]] = []

    async def is_over() -> bool:
        found.append((await api.get(f"/jobs/{job_id}")).json())
        return found[-1]["ended_at"] is not None

    await wait_until(is_over, f"job {job_id} to end")
    return found[-1]


async def running(api: Api, job_id: str) -> None:
    await wait_until(lambda: len(api.ledger.of(job_id)) > 0, f"job {job_id} to begin")


async def test_a_job_is_accepted_followed_and_has_a_result(api: Api) -> None:
    answer = await api.post("/jobs", {"task": "Once", "params": {"label": "a"}, "user_id": "u", "team_id": "t"})
    assert answer.status_code == 202
    job = answer.json()
    assert answer.headers["Location"] == f"/api/v1/jobs/{job['id']}"
    assert (job["status"], job["queue"], job["progress"], job["attempt"]) == ("queued", "pro", None, 0)
    over = await ended(api, job["id"])
    assert (over["status"], over["progress"], over["attempt"], over["error"]) == ("succeeded", 100.0, 1, None)
    assert (over["params"], over["attempts"]) == ({"label": "a", "hold": False, "fail_times": 0}, [])
    result = await api.get(f"/jobs/{job['id']}/result")
    assert result.json() == {"id": job["id"], "result": {"label": "a"}}


async def test_the_same_key_is_the_same_job_by_header_and_by_field(waiting: Api) -> None:
    body = {"task": "Once", "params": {"label": "a"}}
    first = await waiting.post("/jobs", body, headers={"Idempotency-Key": "order-1"})
    again = await waiting.post("/jobs", {**body, "idempotency_key": "order-1"})
    quoted = await waiting.post("/jobs", body, headers={"Idempotency-Key": '"order-1"'})
    both = await waiting.post("/jobs", {**body, "idempotency_key": "order-1"}, headers={"Idempotency-Key": "order-1"})
    assert [one.status_code for one in (first, again, quoted, both)] == [202, 200, 200, 200]
    assert {one.json()["id"] for one in (first, again, quoted, both)} == {first.json()["id"]}
    assert again.json() == first.json()
    other = await waiting.post("/jobs", {**body, "priority": 1}, headers={"Idempotency-Key": "order-1"})
    assert (other.status_code, problem_type(other)) == (409, "idempotency-conflict")
    assert len((await waiting.get("/jobs")).json()["items"]) == 1


async def test_fifty_clients_with_one_key_make_one_job(waiting: Api) -> None:
    body = {"task": "Once", "idempotency_key": "k"}
    answers = await asyncio.gather(*[waiting.post("/jobs", body) for _ in range(50)])
    assert sorted(answer.status_code for answer in answers) == [200] * 49 + [202]
    assert len({answer.json()["id"] for answer in answers}) == 1


async def test_a_key_whose_job_is_gone_is_told(waiting: Api) -> None:
    job = (await waiting.post("/jobs", {"task": "Once", "idempotency_key": "k"})).json()
    await waiting.delete(f"/jobs/{job['id']}")
    store = waiting.instance.store
    await store.command.hdel(store.key("runs"), job["id"])  # type: ignore[misc]  # typed for both clients
    answer = await waiting.post("/jobs", {"task": "Once", "idempotency_key": "k"})
    assert (answer.status_code, problem_type(answer)) == (410, "job-no-longer-kept")


@pytest.mark.parametrize(
    ("body", "loc", "kind"),
    [
        ({"task": "Onse"}, ["body", "task"], "unknown-job"),
        ({"task": "Note"}, ["body", "task"], "wrong-task-type"),
        ({"task": "Once", "params": {"hold": "maybe"}}, ["body", "params", "hold"], "invalid-data"),
        ({"task": "Once", "params": {"colour": 1}}, ["body", "params", "colour"], "invalid-data"),
        ({"task": "Once", "queue": "gold"}, ["body", "queue"], "unknown-queue"),
        ({"task": "Once", "queue": 7}, ["body", "queue"], "invalid-request"),
        ({"task": "Once", "scheduled_at": "2020-01-01T00:00:00Z"}, ["body", "scheduled_at"], "time-in-the-past"),
        ({"task": "Once", "scheduled_at": "2020-01-01T00:00:00"}, ["body", "scheduled_at"], "invalid-request"),
        ({"task": "Once", "priority": 1_000_000}, ["body", "priority"], "invalid-request"),
        ({"task": "Once", "priority": "high"}, ["body", "priority"], "invalid-request"),
        ({"task": "Once", "timeout_s": 0}, ["body", "timeout_s"], "invalid-request"),
        ({"task": "Once", "max_retries": -1}, ["body", "max_retries"], "invalid-request"),
        ({"task": "Once", "expires_in_s": 1e300}, ["body", "expires_in_s"], "invalid-request"),
        ({"task": "Once", "params": []}, ["body", "params"], "invalid-request"),
        ({"task": "Once", "colour": "blue"}, ["body", "colour"], "invalid-request"),
        ({"task": "Once", "idempotency_key": "a b"}, ["body", "idempotency_key"], "invalid-request"),
        ({}, ["body", "task"], "invalid-request"),
        ([], ["body"], "invalid-request"),
    ],
)
async def test_what_is_wrong_with_a_job_is_said_by_its_place(
    waiting: Api, body: Any, loc: list[str], kind: str
) -> None:
    answer = await waiting.post("/jobs", body)
    assert (answer.status_code, problem_type(answer)) == (422, kind)
    assert answer.json()["errors"][0]["loc"] == loc
    assert (await waiting.get("/jobs")).json()["items"] == []


@pytest.mark.parametrize(
    ("headers", "name"),
    [
        ({"Idempotency-Key": "other"}, "Idempotency-Key"),
        ({"Idempotency-Key": ""}, "Idempotency-Key"),
        ({"Idempotency-Key": "x" * 201}, "Idempotency-Key"),
        ({"X-Correlation-ID": "x" * 201}, "X-Correlation-ID"),
    ],
)
async def test_what_is_wrong_with_a_header_is_said_by_its_name(waiting: Api, headers: Any, name: str) -> None:
    answer = await waiting.post("/jobs", {"task": "Once", "idempotency_key": "mine"}, headers=headers)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["loc"] == ["header", name]


async def test_parameters_and_results_have_limits_that_are_named(waiting: Api) -> None:
    answer = await waiting.post("/jobs", {"task": "Once", "params": {"label": "x" * 300_000}})
    assert (answer.status_code, problem_type(answer)) == (422, "invalid-data")
    assert "262144 are allowed" in answer.json()["detail"]
    assert "say where" in answer.json()["detail"]


async def test_a_full_queue_says_when_to_come_again(waiting: Api) -> None:
    for _ in range(3):
        assert (await waiting.post("/jobs", {"task": "Once", "queue": "free"})).status_code == 202
    answer = await waiting.post("/jobs", {"task": "Once", "queue": "free"})
    assert (answer.status_code, problem_type(answer)) == (429, "queue-full")
    assert 1 <= int(answer.headers["Retry-After"]) <= 300
    assert f"again in {answer.headers['Retry-After']} s" in answer.json()["detail"]


async def test_many_are_answered_each_with_its_status(waiting: Api) -> None:
    good = {"task": "Once", "queue": "free"}
    jobs = [good, {"task": "Onse"}, {**good, "idempotency_key": "k"}, {"task": "Once", "params": {"hold": 7}}, "no job"]
    jobs += [{**good, "idempotency_key": "k"}, {**good, "idempotency_key": "k", "priority": 1}, good, good]
    answer = await waiting.post("/jobs/bulk", {"jobs": jobs})
    assert answer.status_code == 200
    told = answer.json()
    assert [item["status"] for item in told["items"]] == [202, 422, 202, 422, 422, 200, 409, 202, 429]
    assert (told["accepted"], told["known"], told["refused"]) == (3, 1, 5)
    assert told["items"][5]["id"] == told["items"][2]["id"]
    places = [
        item["problem"] and item["problem"]["errors"] and item["problem"]["errors"][0]["loc"] for item in told["items"]
    ]
    assert places[1] == ["body", "jobs", 1, "task"]
    assert places[3] == ["body", "jobs", 3, "params", "hold"]
    assert places[4] == ["body", "jobs", 4]
    assert len((await waiting.get("/jobs")).json()["items"]) == 3


@pytest.mark.parametrize("jobs", [[], {}, None, [{"task": "Once"}] * 10_001], ids=["none", "object", "null", "10001"])
async def test_a_bulk_of_nothing_or_too_many_is_refused(waiting: Api, jobs: Any) -> None:
    answer = await waiting.post("/jobs/bulk", {"jobs": jobs})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["loc"] == ["body", "jobs"]


async def test_ten_thousand_in_one_call_are_all_answered(waiting: Api) -> None:
    jobs = [{"task": "Once", "params": {"label": f"{n:0300}"}} for n in range(10_000)]
    answer = await waiting.http.post("/api/v1/jobs/bulk", json={"jobs": jobs})
    assert (answer.status_code, answer.json()["accepted"]) == (200, 10_000)
    stats = (await waiting.get("/health/queue")).json()["queue_stats"]
    assert stats["queues"]["pro"]["ready"] == 10_000


async def test_a_body_that_is_larger_than_that_is_refused(waiting: Api) -> None:
    answer = await waiting.http.post(
        "/api/v1/jobs/bulk", content=b" " * (17 * 1_048_576), headers={"Content-Type": "application/json"}
    )
    assert (answer.status_code, problem_type(answer)) == (413, "body-too-large")


async def test_correlation_comes_from_body_header_or_trace(waiting: Api) -> None:
    traced = {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}
    said = {"X-Correlation-ID": "by header"}
    bodies: list[tuple[dict[str, Any], dict[str, str]]] = [
        ({"correlation_id": "by body"}, {**traced, **said}),
        ({}, {**traced, **said}),
        ({}, traced),
        ({}, {}),
    ]
    found = [
        (await waiting.post("/jobs", {"task": "Once", **body}, headers=headers)).json()["correlation_id"]
        for body, headers in bodies
    ]
    assert found == ["by body", "by header", TRACE, None]


async def test_correlation_and_trace_travel_to_the_run_and_its_events(api: Api) -> None:
    async with Follower(api, "?topics=job.*") as follower:
        traced = {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}
        job = (await api.post("/jobs", {"task": "Once", "correlation_id": "c"}, headers=traced)).json()
        events = [await follower.message() for _ in range(3)]
    assert [event[1] for event in events] == ["job.queued", "job.started", "job.succeeded"]
    for _, _, event in events:
        assert (event["data"]["run_id"], event["correlation_id"]) == (job["id"], "c")
        assert event["traceparent"].startswith(f"00-{TRACE}-")


async def test_a_list_is_filtered_and_paged(waiting: Api) -> None:
    for number in range(3):
        await waiting.post("/jobs", {"task": "Once", "team_id": "t", "user_id": f"u{number}", "correlation_id": "c"})
    await waiting.post("/jobs", {"task": "Once", "queue": "free"})
    page = (await waiting.get("/jobs", params={"team_id": "t", "limit": 2})).json()
    rest = (await waiting.get("/jobs", params={"team_id": "t", "limit": 2, "cursor": page["next_cursor"]})).json()
    assert [job["user_id"] for job in page["items"] + rest["items"]] == ["u2", "u1", "u0"]
    assert rest["next_cursor"] is None
    for query, number in (
        ({"queue": "free"}, 1),
        ({"user_id": "u1"}, 1),
        ({"correlation_id": "c"}, 3),
        ({"status": "running"}, 0),
        ({"task": "Twice"}, 0),
        ({"since": "2999-01-01T00:00:00Z"}, 0),
        ({"since": "2020-01-01T00:00:00Z"}, 4),
    ):
        assert len((await waiting.get("/jobs", params=query)).json()["items"]) == number, query


@pytest.mark.parametrize(
    "query",
    [
        {"status": "done"},
        {"limit": 0},
        {"limit": 501},
        {"cursor": "x"},
        {"cursor": "0:nobody"},
        {"since": "yesterday"},
        {"since": "1960-01-01T00:00:00Z"},
        {"colour": "blue"},
    ],
)
async def test_a_wrong_question_is_refused(waiting: Api, query: dict[str, Any]) -> None:
    assert (await waiting.get("/jobs", params=query)).status_code == 422


async def test_nobody_knows_a_job_that_never_was(waiting: Api) -> None:
    for call, path in (
        (waiting.get, "/jobs/nobody"),
        (waiting.get, "/jobs/nobody/result"),
        (waiting.get, "/jobs/nobody/events"),
        (waiting.delete, "/jobs/nobody"),
        (waiting.post, "/jobs/nobody/retry"),
    ):
        answer = await call(path)
        assert (answer.status_code, problem_type(answer)) == (404, "job-not-found")
    assert (await waiting.get("/jobs/..%20")).status_code == 422


async def test_a_result_is_there_only_after_success(waiting: Api) -> None:
    job = (await waiting.post("/jobs", {"task": "Once"})).json()
    answer = await waiting.get(f"/jobs/{job['id']}/result")
    assert (answer.status_code, problem_type(answer)) == (409, "no-result-yet")


async def test_what_waits_is_cancelled_once(waiting: Api) -> None:
    job = (await waiting.post("/jobs", {"task": "Once"})).json()
    answers = await asyncio.gather(*[waiting.delete(f"/jobs/{job['id']}?reason=not+needed") for _ in range(2)])
    assert sorted(answer.status_code for answer in answers) == [200, 409]
    cancelled = (await waiting.get(f"/jobs/{job['id']}")).json()
    assert (cancelled["status"], cancelled["error"]) == ("cancelled", "not needed")


async def test_what_executes_is_cancelled_and_never_ends_as_succeeded(api: Api) -> None:
    job = (await api.post("/jobs", {"task": "Once", "params": {"label": "held", "hold": True}})).json()
    await running(api, job["id"])
    answer = await api.delete(f"/jobs/{job['id']}")
    assert answer.json()["status"] == "cancelled"
    api.ledger.gate("held").set()
    after = await api.delete(f"/jobs/{job['id']}")
    assert (after.status_code, problem_type(after)) == (409, "job-is-over")


async def test_a_job_that_failed_is_queued_again_and_one_that_succeeded_is_not(api: Api) -> None:
    job = (await api.post("/jobs", {"task": "Once", "params": {"fail_times": 1}, "max_retries": 0})).json()
    failed = await ended(api, job["id"])
    assert (failed["status"], failed["error"]) == ("failed", "ValueError: attempt 1")
    answers = await asyncio.gather(*[api.post(f"/jobs/{job['id']}/retry") for _ in range(2)])
    assert 202 in [answer.status_code for answer in answers]
    over = await ended(api, job["id"])
    assert (over["status"], over["attempt"]) == ("succeeded", 2)
    answer = await api.post(f"/jobs/{job['id']}/retry")
    assert (answer.status_code, problem_type(answer)) == (409, "job-not-retryable")


async def test_many_are_queued_again_by_a_filter(waiting: Api) -> None:
    for team in ("a", "a", "b"):
        job = (await waiting.post("/jobs", {"task": "Once", "team_id": team})).json()
        await waiting.delete(f"/jobs/{job['id']}")
    answer = await waiting.post("/jobs/retry", {"status": "cancelled", "team_id": "a"})
    assert answer.json() == {"retried": 2, "more": False}
    assert len((await waiting.get("/jobs?status=queued")).json()["items"]) == 2
    assert (await waiting.post("/jobs/retry", {"status": "cancelled", "limit": 1})).json()["retried"] == 1


@pytest.mark.parametrize(
    "body", [{}, {"status": "succeeded"}, {"status": "failed", "limit": 0}, {"status": "failed", "teem_id": "a"}]
)
async def test_a_filter_that_says_too_little_or_too_much_queues_nothing(waiting: Api, body: Any) -> None:
    assert (await waiting.post("/jobs/retry", body)).status_code == 422


async def test_viewers_read_and_operators_submit_cancel_and_retry(redis_url: str, namespace: str) -> None:
    from api_kit import API_KEYS

    async with Api(redis_url, namespace, api_keys=API_KEYS) as api:
        job = (await api.post("/jobs", {"task": "Once"}, key="operator")).json()
        for path in ("/jobs", f"/jobs/{job['id']}"):
            assert (await api.get(path)).status_code == 401
            assert (await api.get(path, key="viewer")).status_code == 200
        for method, path, body in (
            ("POST", "/jobs", {"task": "Once"}),
            ("POST", "/jobs/bulk", {"jobs": [{"task": "Once"}]}),
            ("POST", "/jobs/retry", {"status": "failed"}),
            ("POST", f"/jobs/{job['id']}/retry", None),
            ("DELETE", f"/jobs/{job['id']}", None),
        ):
            more = {} if body is None else {"json": body}
            assert (await api.call(method, path, key="viewer", **more)).status_code == 403, path
        assert (await api.delete(f"/jobs/{job['id']}", key="operator")).status_code == 200


async def test_health_counts_by_queue(waiting: Api) -> None:
    await waiting.post("/jobs", {"task": "Once", "queue": "free"})
    await waiting.post("/jobs", {"task": "Once"})
    stats = (await waiting.get("/health/queue")).json()["queue_stats"]
    assert {name: queue["ready"] for name, queue in stats["queues"].items()} == {"free": 1, "pro": 1}
    assert stats["lanes"]["Once@1#free"]["ready"] == 1


async def test_a_job_is_followed_to_its_end(api: Api) -> None:
    job = (await api.post("/jobs", {"task": "Once", "params": {"label": "held", "hold": True}})).json()
    path = f"/jobs/{job['id']}/events"
    async with Follower(api, path=path) as follower:
        await running(api, job["id"])
        await api.post("/jobs", {"task": "Once"})
        api.ledger.gate("held").set()
        messages = [await follower.message()]
        while messages[-1][1] != "over":
            messages.append(await follower.message())
        assert await follower.rest() == []
    kinds = [kind for _, kind, _ in messages]
    assert kinds[-2:] == ["job.succeeded", "over"]
    assert {message["data"]["run_id"] for _, kind, message in messages[:-1]} == {job["id"]}
    assert (messages[-1][0], messages[-1][2]["status"], messages[-1][2]["progress"]) == ("over", "succeeded", 100.0)


async def test_a_stream_of_a_job_goes_on_where_it_was_cut(api: Api) -> None:
    job = (await api.post("/jobs", {"task": "Once", "params": {"label": "held", "hold": True}})).json()
    path = f"/jobs/{job['id']}/events"
    async with Follower(api, path=path) as follower:
        await running(api, job["id"])
        place = follower.place
    api.ledger.gate("held").set()
    await ended(api, job["id"])
    async with Follower(api, path=path, after=place) as follower:
        rest = [(follower.first[1]), *[message.event for message in await follower.rest()]]
    assert rest[-2:] == ["job.succeeded", "over"]
    assert (await api.get(path, headers={"Last-Event-ID": "over"})).status_code == 204


async def test_a_job_that_is_over_is_told_at_once(waiting: Api) -> None:
    job = (await waiting.post("/jobs", {"task": "Once"})).json()
    await waiting.delete(f"/jobs/{job['id']}")
    async with Follower(waiting, path=f"/jobs/{job['id']}/events") as follower:
        assert follower.first[1:2] == ("job",)
        assert [message.event for message in await follower.rest()] == ["over"]
    wrong = await waiting.get(f"/jobs/{job['id']}/events", headers={"Last-Event-ID": "17"})
    assert (wrong.status_code, problem_type(wrong)) == (422, "invalid-cursor")
