"""Sync bodies in threads: nothing waits for them that need not, and nothing of them stays."""

import asyncio
import contextvars
import gc
import threading
import weakref
from typing import Any

import pytest

from application.runs.threads import BodyThreads
from support import wait_until, wait_until_sync


async def test_a_body_returns_or_raises_to_its_caller() -> None:
    threads = BodyThreads()

    def adds(a: int, b: int) -> int:
        return a + b

    def breaks() -> None:
        raise KeyError("k")

    assert await threads.call(adds, 1, b=2) == 3
    with pytest.raises(KeyError):
        await threads.call(breaks)


marker: contextvars.ContextVar[str] = contextvars.ContextVar("marker")


async def test_a_body_sees_the_context_of_its_run() -> None:
    """What a container keeps per context is the same for the body as for what was injected."""
    marker.set("of this run")
    assert await BodyThreads().call(marker.get) == "of this run"


async def test_what_is_left_behind_is_counted_until_it_ends(caplog: pytest.LogCaptureFixture) -> None:
    threads, release = BodyThreads(), threading.Event()

    def hangs() -> None:
        release.wait()
        raise RuntimeError("after all")

    tasks = [asyncio.create_task(threads.call(hangs)) for _ in range(3)]
    await asyncio.sleep(0)
    assert threads.abandoned == 0
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert threads.abandoned == 3
    assert await threads.call(lambda: "others go on") == "others go on"
    release.set()
    await wait_until(lambda: threads.abandoned == 0, "the threads")
    await wait_until(lambda: caplog.text.count("RuntimeError('after all')") == 3, "the words of the dead")
    release.clear()
    another = asyncio.create_task(threads.call(release.wait))
    await asyncio.sleep(0)
    another.cancel()
    await asyncio.gather(another, return_exceptions=True)
    assert len(threads._abandoned) == 1, "the dead are not kept"
    release.set()


async def test_a_call_that_ended_is_not_counted_though_it_is_cancelled_in_that_moment() -> None:
    threads, ran = BodyThreads(), threading.Event()
    task = asyncio.create_task(threads.call(ran.set))
    await asyncio.sleep(0)
    wait_until_sync(ran.is_set, "the body")
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await wait_until(lambda: threads.abandoned == 0, "the thread")


class Heavy:
    """Something whose life can be watched."""


async def test_no_thread_and_no_argument_stays() -> None:
    threads, heavy = BodyThreads(), Heavy()
    watched = weakref.ref(heavy)
    assert await threads.call(lambda thing: type(thing).__name__, heavy) == "Heavy"
    await wait_until(lambda: not any(one.name == "roundsman-body" for one in threading.enumerate()), "the thread")
    del heavy
    gc.collect()
    assert watched() is None


def test_a_loop_that_is_gone_does_not_trouble_the_thread() -> None:
    """Warnings and unhandled errors in threads fail the tests."""
    threads, release, ended = BodyThreads(), threading.Event(), threading.Event()

    def body() -> None:
        release.wait()
        ended.set()

    async def leave() -> None:
        task: asyncio.Task[Any] = asyncio.create_task(threads.call(body))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(leave())
    assert threads.abandoned == 1
    release.set()
    wait_until_sync(ended.is_set, "the body")
    wait_until_sync(lambda: threads.abandoned == 0, "the thread")


async def test_a_thread_that_cannot_be_started_is_the_callers_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def exhausted(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", exhausted)
    threads = BodyThreads()
    with pytest.raises(RuntimeError, match="can't start new thread"):
        await threads.call(print)
    assert threads.abandoned == 0
