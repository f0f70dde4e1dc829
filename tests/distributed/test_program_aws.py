"""Whole programs watch a stand-in for AWS, each a process of its own."""

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from cli_program import TESTS, Program
from cli_support import environment
from infrastructure.redis.embedded import EmbeddedValkey
from support import wait_until_sync

COUNT = 40


class FakeProcess:
    """The stand-in as a process."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "aws_fake"],
            env=environment(extra={"PYTHONPATH": str(TESTS)}),
            stdout=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
        )
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().decode().strip()

    def tell(self, what: str, **facts: Any) -> dict[str, Any]:
        request = urllib.request.Request(f"{self.url}/fake/{what}", json.dumps(facts).encode())  # noqa: S310 - loopback
        with urllib.request.urlopen(request) as answer:  # noqa: S310 - loopback
            found: dict[str, Any] = json.load(answer)
            return found

    def end(self) -> None:
        self._process.terminate()
        self._process.wait(10)
        assert self._process.stdout is not None
        self._process.stdout.close()


@pytest.fixture
def fake() -> Iterator[FakeProcess]:
    made = FakeProcess()
    yield made
    made.end()


def test_a_fleet_is_imported_watched_by_two_programs_and_let_go(
    valkey: EmbeddedValkey, namespace: str, tmp_path: Path, fake: FakeProcess
) -> None:
    ids = fake.tell("grow", region="eu-west-1", count=COUNT)["ids"]
    settings = {
        "ROUNDSMAN_MONITORING__AWS__ENDPOINT_URL": fake.url,
        "ROUNDSMAN_MONITORING__LOCAL_WORKER": "false",
        "AWS_ACCESS_KEY_ID": "AKIATESTTESTTESTTEST",
        "AWS_SECRET_ACCESS_KEY": "a-secret-that-nobody-may-see-0123456789",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    with ExitStack() as stack:
        programs = []
        for name in ("one", "two"):
            (tmp_path / name).mkdir()
            programs.append(stack.enter_context(Program(tmp_path / name, valkey.url, namespace, **settings)))
        one, two = programs
        result = one("workers", "import", "--region", "eu-west-1", "--monitor")
        assert (result.status, result.err) == (0, "")
        assert result.out.endswith(f"Imported: {COUNT} created, 0 updated, 0 unchanged.\n")
        assert f"aws-{ids[0]}" in result.out

        def seen() -> bool:
            workers = two.json("workers", "list")["items"]
            return len(workers) == COUNT and all(worker["last_sample"] for worker in workers)

        wait_until_sync(seen, "a sample of each")
        sample = two.json("workers", "show", f"aws-{ids[7]}")["last_sample"]
        assert sample["metrics"]["cpu_utilization"] == 0.125
        assert sample["status_checks"] == {"system": "ok", "instance": "ok", "attached_ebs": "ok"}
        calls = fake.tell("calls")["calls"]
        assert calls["eu-west-1 GetMetricData"] <= 4, "forty first looks, spread over two programs, are a few rounds"

        assert one("workers", "monitor", f"aws-{ids[7]}", "--interval", "1s").status == 0
        fake.tell("change", region="eu-west-1", id=ids[7], state="shutting-down")
        gone = f"aws-{ids[7]}"
        wait_until_sync(lambda: look(two, gone)["status"] == "shutting_down", "the status to follow", deadline_s=60)
        wait_until_sync(lambda: look(one, gone)["monitoring"] is None, "its monitoring to end")
        assert look(one, f"aws-{ids[8]}")["monitoring"] is not None
    for name in ("one", "two"):
        assert "a-secret-that-nobody" not in (tmp_path / name / "program.log").read_text()


def look(program: Program, worker_id: str) -> Any:
    return program.json("workers", "show", worker_id)
