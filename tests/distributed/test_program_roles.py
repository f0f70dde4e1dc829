"""One API process and one that executes, over a store that both share: what one is told, the other does."""

import signal
from pathlib import Path

from distributed.program_kit import Roundsman


def test_an_api_process_controls_what_another_process_executes(redis_url: str, namespace: str, tmp_path: Path) -> None:
    shared = {"ROUNDSMAN_STORE__REDIS_URL": redis_url, "ROUNDSMAN_STORE__NAMESPACE": namespace}
    for name in ("api", "scheduler"):
        (tmp_path / name).mkdir()
    with Roundsman(tmp_path / "api", **shared) as api, Roundsman(tmp_path / "scheduler", **shared) as scheduler:
        scheduler.begin("--role", "scheduler")
        api.start("--role", "api")
        assert api.health()[1]["components"].keys() == {"store", "events", "history"}
        api.wait(lambda: api.http.get("/api/v1/workers/local").status_code == 200, "the other to watch its machine")
        api.wait(lambda: api.get("/workers/local/metrics")["items"], "a sample")

        assert api.call("DELETE", "/workers/local/monitoring", 200)["stopped"] is True
        counted = len(api.get("/workers/local/metrics")["items"])
        api.call("PUT", "/workers/local/monitoring", 201, {"interval_s": 0.5})
        api.wait(lambda: len(api.get("/workers/local/metrics")["items"]) > counted + 1, "more samples")

        assert scheduler.interrupt(signal.SIGTERM) == 0, scheduler.said
        assert api.interrupt(signal.SIGTERM) == 0, api.said
        assert "Traceback" not in api.said + scheduler.said
        made = {path.name.partition("-")[0] for path in (tmp_path / "api").glob("var/*")}
        assert made <= {"history.sqlite3"}, "a process with a redis_url needs no directory but for the history"
