"""Whole programs with channels: what stops the start, what health and metrics say, what is left at the end."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

import main
from application.monitoring.alert_book import AlertStep
from cli_support import Outcome, roundsman
from infrastructure.program import Program
from infrastructure.redis.embedded import EmbeddedValkey
from infrastructure.web.health import Finding, HealthStatus
from integration.outbox_kit import load_apprise
from integration.telemetry_kit import served, value
from integration.watched_kit import Start
from receiver import Receiver, Reply
from support import wait_until
from unit.monitoring.messages import notification

SECRET = "k3y-of-the-hook-that-nobody-may-see"
TOKEN = "T0KEN-of-mine-12345"


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with Receiver() as running:
        yield running


@pytest.fixture
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module", autouse=True)
def _loaded() -> None:
    load_apprise()


def hook(receiver: Receiver, **facts: Any) -> dict[str, Any]:
    return {"name": "hook", "type": "webhook", "url": receiver.url, "secret": SECRET, **facts}


def check(*channels: dict[str, Any]) -> Outcome:
    return roundsman("check", env={"ROUNDSMAN_ALERTS__CHANNELS": json.dumps(channels)}, run=main.run, check=main.check)


async def tell(program: Program, *workers: str) -> None:
    """Commit an alert of each worker, as the engine does."""
    book, store = program.container.monitoring.book(), program.container.store()
    for worker_id in workers:
        await store.command.hset(store.key("mon", "workers"), worker_id, "{}")
        step = AlertStep(await book.read(worker_id), notifications=[notification(worker_id=worker_id)])
        assert await book.commit(step) == "done"
        await store.command.hdel(store.key("mon", "workers"), worker_id)
    program.container.monitoring.sender().wake()


async def sender(program: Program) -> Finding:
    return (await program.services().health.look()).components["sender"]


@pytest.mark.usefixtures("_elsewhere")
class TestCheck:
    def test_a_channel_that_can_work_is_fine(self) -> None:
        found = check({"name": "hook", "type": "webhook", "url": "https://x.example.com/y", "secret": SECRET})
        assert (found.status, found.err) == (0, "")
        assert SECRET not in found.out

    def test_a_url_that_nobody_understands_is_told_without_it(self) -> None:
        chat = {"name": "chat", "type": "apprise", "urls": [f"slack://{TOKEN}"]}
        found = check(chat)
        assert found.status == 1
        assert "The channel 'chat' (alerts.channels) cannot be used: urls[0] (slack://…) is not understood" in found.err
        assert TOKEN not in found.err

    def test_an_authority_that_is_not_there_is_told(self, tmp_path: Path) -> None:
        file = str(tmp_path / "ca.pem")
        found = check({"name": "h", "type": "webhook", "url": "https://x/y", "secret": SECRET, "ca_file": file})
        assert found.status == 1
        assert f"ca_file {file} cannot be used: No such file or directory" in found.err


async def test_health_names_the_channel_that_does_not_work_until_it_does(
    valkey: EmbeddedValkey, begin: Start, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("application.monitoring.retrying.retry_delay_s", lambda tries: 0.01)
    receiver.always = Reply(503, {}, b"back soon")
    program = await begin(valkey, monitoring={"local_worker": False}, alerts={"channels": [hook(receiver)]})
    await tell(program, "w1")

    async def is_told() -> bool:
        found = await sender(program)
        return found.status is HealthStatus.DEGRADED and "channel hook: it answered 503" in found.detail

    await wait_until(is_told, "health to say so")
    assert (await sender(program)).facts["waiting"] == {"hook": 1}
    receiver.always = None
    assert (await program.services().channels.test("hook", "ann")).outcome == "sent"
    store = program.container.store()
    await store.command.hdel(store.key("mon", "circuit", "hook"), "until")  # as if its rest were over

    async def is_well() -> bool:
        return await sender(program) == Finding(
            HealthStatus.OK, "", {**program.container.monitoring.sender().counters.totals, "waiting": {}}
        )

    await wait_until(is_well, "health to be well again")
    assert receiver.alerts == ["firing cpu@w1@1"]


async def test_a_scrape_tells_of_each_channel(redis_url: str, namespace: str, receiver: Receiver) -> None:
    receiver.replies.append(Reply(422))
    channels = [hook(receiver), hook(receiver, name="idle", severities=["info"])]
    async with served(redis_url, namespace, alerts={"channels": channels}) as one:
        await tell(one.program, "w1", "w2")

        async def are_counted() -> Any:
            found = await one.scrape()
            sent = value(found, "roundsman_notifications_total", channel="hook", outcome="sent")
            return found if sent == 1 else None

        found = await wait_until(are_counted, "the count")
    outcomes = {
        (channel, outcome): value(found, "roundsman_notifications_total", channel=channel, outcome=outcome)
        for channel in ("hook", "idle")
        for outcome in ("failed", "given_up")
    }
    assert outcomes == {("hook", "failed"): 0, ("hook", "given_up"): 1, ("idle", "failed"): 0, ("idle", "given_up"): 0}
    assert value(found, "roundsman_channel_state", channel="hook", state="closed") == 1
    assert value(found, "roundsman_channel_state", channel="hook", state="open") == 0
    assert value(found, "roundsman_notifications_waiting", channel="idle") == 0
    assert value(found, "roundsman_notifications_oldest_seconds", channel="idle") == 0


async def test_a_program_of_the_api_alone_can_try_a_channel(
    valkey: EmbeddedValkey, begin: Start, receiver: Receiver
) -> None:
    program = await begin(valkey, role="api", monitoring={"local_worker": False}, alerts={"channels": [hook(receiver)]})
    assert (await program.services().channels.test("hook", "ann")).outcome == "sent"
    await program.stop()
    await wait_until(lambda: receiver.connections == 0, "its connections to be closed")


async def test_who_stops_lets_what_is_under_way_arrive_and_leaves_nothing(
    valkey: EmbeddedValkey, begin: Start, receiver: Receiver
) -> None:
    urls = [f"json://127.0.0.1:{receiver.port}/{TOKEN}/"]
    chat = {"name": "chat", "type": "apprise", "urls": urls, "schemes": ["json"], "severities": ["info"]}
    before = {thread.name for thread in threading.enumerate()}
    receiver.always = Reply(instead="hang")
    program = await begin(valkey, monitoring={"local_worker": False}, alerts={"channels": [hook(receiver), chat]})
    await tell(program, "w1")
    await wait_until(lambda: receiver.received, "the message to be under way")
    stopping = asyncio.create_task(program.stop())
    await asyncio.sleep(0.01)
    receiver.let_go()
    await stopping
    await wait_until(lambda: receiver.connections == 0, "its connections to be closed")
    assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("notification sender")]
    left = {thread.name for thread in threading.enumerate()} - before
    assert not [name for name in left if name.startswith("channel")]
    again = await begin(valkey, monitoring={"local_worker": False}, alerts={"channels": [hook(receiver), chat]})
    assert await again.container.monitoring.outbox().backlogs() == {}
    assert len(receiver.received) == 1
