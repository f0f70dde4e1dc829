"""The first start: ready by itself, this machine watched, everything over HTTP; a second program is refused."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import psutil
import pytest

from conftest import servers_below
from distributed.program_kit import PATIENCE_S, Roundsman, assert_ended_cleanly


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Roundsman]:
    """One program for all tests of this file, without any setting but its port; ended by Ctrl-C."""
    with Roundsman(tmp_path_factory.mktemp("first")) as started:
        started.start()
        yield started
        assert_ended_cleanly(started, started.interrupt())


def samples(program: Roundsman) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = program.get("/workers/local/metrics")["items"]
    return found


def test_it_is_ready_and_says_where(program: Roundsman) -> None:
    status, ready = program.health()
    assert (status, ready["status"]) == (200, "ok")
    assert ready["components"].keys() == {*("store", "events", "embedded_valkey", "scheduler", "sender", "history")}
    assert program.http.get("/health/live").status_code == 200
    assert f"documentation: {program.http.base_url}/docs " in program.said
    assert program.server.is_running()


def test_this_machine_is_watched_with_real_values(program: Roundsman) -> None:
    worker = program.get("/workers/local")
    assert (worker["provider"], worker["monitoring"]["job_id"]) == ("local", "worker-metrics-local")
    assert worker["monitoring"]["interval_s"] == 5
    program.wait(lambda: len(samples(program)) >= 2, "two samples")
    metrics = samples(program)[1]["metrics"]
    assert 0 <= metrics["cpu_utilization"] <= 1
    assert 0 < metrics["memory_utilization"] < 1
    assert 0 < metrics["memory_limit_bytes"] <= psutil.virtual_memory().total
    assert abs(metrics["uptime_s"] - (time.time() - psutil.boot_time())) < PATIENCE_S
    assert metrics["process_count"] >= 2
    assert all(0 <= used <= 1 for used in metrics["filesystems"].values())
    assert "local (" in program.said, "the first samples are shown to who started it"


def test_each_sample_is_told_on_the_event_stream(program: Roundsman) -> None:
    with program.http.stream("GET", "/api/v1/events?topics=worker.metrics.collected") as stream:
        messages = iter(httpx2.EventSource(stream))
        message = next(message for message in messages if message.data)
    assert message.event == "worker.metrics.collected"
    event = json.loads(message.data)
    assert event["data"]["worker_id"] == "local"
    assert event["data"]["metrics"]["process_count"] >= 2


def test_monitoring_is_stopped_and_started_over_http(program: Roundsman) -> None:
    stopped = program.call("DELETE", "/workers/local/monitoring", 200)
    assert stopped["stopped"] is True
    program.call("DELETE", "/workers/local/monitoring", 404)
    program.get("/workers/local/monitoring", 404)
    assert "worker-metrics-local" not in [schedule["id"] for schedule in program.get("/schedules")["items"]]
    before = len(samples(program))
    started = program.call("PUT", "/workers/local/monitoring", 201, {"interval_s": 5})
    assert started["job_id"] == "worker-metrics-local"
    assert program.call("PUT", "/workers/local/monitoring", 200, {"interval_s": 5})["counts"] is not None
    program.wait(lambda: len(samples(program)) > before, "a new sample")


def test_a_second_program_in_the_same_directory_is_refused_and_harms_nothing(program: Roundsman) -> None:
    server = program.server
    with Roundsman(program.directory) as second:
        process = second.begin()
        assert process.wait(PATIENCE_S) == 1
        assert f"{program.directory / 'var'} is in use by process {program.process.pid}: " in second.said
    assert program.health()[0] == 200
    assert program.server == server
    program.call("PATCH", "/workers/local", 200, {"labels": {"seen": "by-the-first"}})


def test_a_second_program_on_the_same_port_is_refused_and_leaves_no_server(program: Roundsman, tmp_path: Path) -> None:
    port = str(httpx2.URL(str(program.http.base_url)).port)
    with Roundsman(tmp_path) as second:
        process = second.begin("--port", port)
        assert process.wait(PATIENCE_S) == 1
        assert f"Error: The address 127.0.0.1 port {port} cannot be listened on: Address already in use." in second.said
        assert "Traceback" not in second.said
    assert servers_below(tmp_path) == []
    assert program.health()[0] == 200
