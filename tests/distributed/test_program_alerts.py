"""An alert on this very machine, from the sample to the log: it fires, and ends with its cause or with its worker."""

import json
import re
from pathlib import Path
from typing import Any

from distributed.program_kit import Roundsman, assert_ended_cleanly


def rules(fire: float) -> str:
    return json.dumps([{"id": "memory", "metric": "memory_utilization", "fire": fire, "severity": "critical"}])


def alert_of(program: Roundsman, worker_id: str, state: str) -> Any:
    """Return the one alert of a worker in this state, when it is there."""
    return program.wait(
        lambda: program.get(f"/alerts?worker={worker_id}&state={state}")["items"], f"{worker_id} to be {state}"
    )[0]


def test_an_alert_fires_and_ends_with_its_cause_or_with_its_worker(tmp_path: Path) -> None:
    settings = {"ROUNDSMAN_ALERTS__RULES": rules(0.0001), "ROUNDSMAN_MONITORING__INTERVAL_S": "0.5"}
    with Roundsman(tmp_path, **settings) as program:
        program.start()
        firing = alert_of(program, "local", "firing")
        assert (firing["rule_id"], firing["severity"], firing["metric"]) == ("memory", "critical", "memory_utilization")
        assert 0 < firing["value"] < 1
        program.wait(lambda: "ALERT FIRING [critical] memory on " in program.said, "the log to say so")

        program.call("POST", "/workers", 201, {"id": "twin", "name": "twin", "provider": "local"})
        program.call("PUT", "/workers/twin/monitoring", 201)
        alert_of(program, "twin", "firing")
        program.call("DELETE", "/workers/twin", 204)
        program.get("/workers/twin", 404)
        assert alert_of(program, "twin", "resolved")["reason"] == "the worker was removed"
        assert program.get("/alerts?worker=twin&state=firing")["items"] == []
        assert "worker-metrics-twin" not in [item["id"] for item in program.get("/schedules")["items"]]
        program.wait(lambda: re.search(r"ALERT RESOLVED .* on twin", program.said), "the log to say so")
        assert_ended_cleanly(program, program.interrupt())
        assert len(re.findall("ALERT FIRING .* on twin", program.said)) == 1

        program.start(ROUNDSMAN_ALERTS__RULES=rules(0.9999))
        resolved = alert_of(program, "local", "resolved")
        assert resolved["id"] == firing["id"]
        assert program.get("/alerts?state=firing")["items"] == []
        program.wait(lambda: program.said.count("ALERT RESOLVED") == 2, "the log to say so")
        assert_ended_cleanly(program, program.interrupt())
