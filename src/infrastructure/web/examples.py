"""Examples in the document for models that the application shares with other ways in than this one."""

from typing import Any

WORKER = {
    "id": "build-7",
    "name": "Build machine 7",
    "provider": "local",
    "region": None,
    "instance_id": None,
    "labels": {"team": "ops"},
    "status": "running",
    "status_reason": "it answers",
    "status_since": "2026-11-22T07:00:05.112Z",
    "created_at": "2026-11-22T07:00:00.018Z",
}
COUNTS = {
    "fired": 720,
    "skipped": 0,
    "missed": 2,
    "succeeded": 718,
    "failed": 2,
    "cancelled": 0,
    "retried": 0,
    "lost": 0,
}
MONITORING = {
    "job_id": "worker-metrics-build-7",
    "worker_id": "build-7",
    "interval_s": 5,
    "cron": None,
    "timezone": None,
    "when": "every 5 seconds",
    "paused": False,
    "pause": None,
    "status": "active",
    "parked_reason": None,
    "next_run_time": "2026-11-22T08:00:05Z",
    "last_run_time": "2026-11-22T08:00:00Z",
    "last_outcome": "succeeded",
    "last_error": None,
    "running": [],
    "counts": COUNTS,
    "failures": 0,
    "backing_off_until": None,
}
SAMPLE = {
    "worker_id": "build-7",
    "worker_name": "Build machine 7",
    "provider": "local",
    "region": None,
    "observed_at": "2026-11-22T08:00:00.004Z",
    "collected_at": "2026-11-22T08:00:00.019Z",
    "status": "running",
    "status_checks": {"system": "not_applicable", "instance": "ok"},
    "metrics": {
        "cpu_utilization": 0.3127,
        "memory_utilization": 0.6214,
        "memory_limit_bytes": 8_589_934_592,
        "load_1m": 1.27,
        "filesystems": {"/": 0.4411},
        "disk_read_bytes_per_s": 0,
        "disk_write_bytes_per_s": 73_728,
        "network_rx_bytes_per_s": None,
        "network_tx_bytes_per_s": None,
        "uptime_s": 86_412,
        "process_count": 214,
    },
    "missing": {
        "region": "this machine has none",
        "network_rx_bytes_per_s": "the counters went back",
        "network_tx_bytes_per_s": "the counters went back",
    },
}
WORKER_VIEW = {**WORKER, "monitoring": MONITORING, "last_sample": SAMPLE}
ALERT = {
    "id": "high-cpu@build-7@1795334400000",
    "rule_id": "high-cpu",
    "worker_id": "build-7",
    "worker_name": "Build machine 7",
    "state": "firing",
    "severity": "warning",
    "metric": "cpu_utilization",
    "value": 0.97,
    "subject": None,
    "fire": 0.9,
    "clear": 0.8,
    "opened_at": "2026-11-22T08:00:00.004Z",
    "fired_at": "2026-11-22T08:01:00.004Z",
    "resolved_at": None,
    "updated_at": "2026-11-22T08:03:10.004Z",
    "reason": None,
    "ack": {
        "by": "ann",
        "note": "the build farm is busy",
        "at": "2026-11-22T08:02:00.311Z",
        "until": "2026-11-22T12:02:00.311Z",
        "severity": "warning",
    },
    "silenced_until": None,
    "hidden_by": None,
    "told_at": "2026-11-22T08:01:00.004Z",
    "summary": "high-cpu on Build machine 7: cpu_utilization 97.0 %",
}

EXAMPLES: dict[str, Any] = {
    "JobRequest": {"task": "Import", "params": {"customer": 17}, "queue": "pro", "team_id": "acme"},
    "WorkerRequest": {"id": "build-7", "name": "Build machine 7", "provider": "local", "labels": {"team": "ops"}},
    "WorkerPatch": {"name": "Build machine 7 (new)", "labels": {"team": None, "room": "2.14"}},
    "WorkerView": WORKER_VIEW,
    "WorkerPage": {"items": [WORKER_VIEW], "next_cursor": "build-7"},
    "ImportResult": {
        "items": [
            {
                "id": "aws-default-eu-west-1-i-0abc12345678",
                "name": "web-1",
                "region": "eu-west-1",
                "instance_id": "i-0abc12345678",
                "outcome": "created",
                "monitoring": "created",
                "problem": None,
            }
        ],
        "created": 1,
        "updated": 0,
        "unchanged": 0,
    },
    "Monitoring": MONITORING,
    "MonitoringPage": {"items": [MONITORING], "next_cursor": "build-7"},
    "FleetView": {
        "items": [
            {"worker_id": "build-7", "result": "created", "monitoring": MONITORING, "problem": None},
            {
                "worker_id": "build-8",
                "result": "failed",
                "monitoring": None,
                "problem": {
                    "type": "urn:roundsman:problem:worker-not-found",
                    "status": 404,
                    "detail": "There is no worker 'build-8'. It may have been removed; list the workers to see which "
                    "there are.",
                },
            },
        ],
        "created": 1,
        "changed": 0,
        "unchanged": 0,
        "failed": 1,
    },
    "SamplePage": {"items": [SAMPLE], "next_cursor": "2026-11-22T08:00:05.004Z"},
    "AlertRecord": ALERT,
    "AlertPage": {"items": [ALERT], "next_cursor": None},
}
"""By the name that the document gives a model."""
