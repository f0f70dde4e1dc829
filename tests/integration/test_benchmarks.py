"""The benchmark works: one contestant, ours, for a moment. What it finds is no matter here."""

import json
import sys
from asyncio import create_subprocess_exec
from asyncio.subprocess import PIPE
from pathlib import Path

import psutil
import pytest

from benchmarks import job_estimates, jobs, monitoring, schedules
from benchmarks.contestants.jobs.interface import Board
from benchmarks.machine import stolen_share
from benchmarks.measuring import Start, expected, percentile, punctuality
from benchmarks.monitoring_day import filled_day
from benchmarks.monitoring_report import CALLS
from benchmarks.schedules import Run, parse
from benchmarks.server import Server

ROOT = Path(__file__).resolve().parents[2]


async def test_quick_run_prints_a_table_and_writes_all_figures(tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    command = ["-m", "benchmarks.schedules", "--quick", "--parts", "rates", "--rates", "50", "--json", str(figures)]
    process = await create_subprocess_exec(sys.executable, *command, cwd=ROOT, stdout=PIPE, stderr=PIPE)
    printed, progress = await process.communicate()
    assert process.returncode == 0, progress.decode()
    assert "| Roundsman | 50 | 50 |" in printed.decode()
    found = json.loads(figures.read_text())
    (row,) = found["rates"]
    assert row["due"] == 50
    assert row["doubled"] == 0
    assert row["started_per_s"] > 0
    assert row["server_cpu_share"] >= 0
    assert 0 <= row["stolen_share"] < 1
    assert found["machine"]["cores"] >= 1


def test_fires_that_did_not_start_are_missed_and_those_that_started_twice_doubled() -> None:
    fires = expected(base_ms=1_000, schedules=2, interval_ms=100, begin_ms=1_100, end_ms=1_300)
    assert fires == {(0, 1_100), (0, 1_200), (1, 1_150), (1, 1_250)}
    starts = [Start(0, 1_100, 1.110), Start(1, 1_150, 1.160), Start(1, 1_150, 1.170), Start(0, 1_000, 1.200)]
    found = punctuality(starts, fires, 1.1, 1.3)
    assert (found.due, found.missed, found.doubled) == (4, 2, 1)
    assert found.started_per_s == pytest.approx(4 / 0.2)
    assert found.late_p50 == pytest.approx(0.01)
    assert found.late_max == pytest.approx(0.02)
    assert not found.sustained


@pytest.mark.parametrize(("late", "sustained"), [(0.099, True), (0.101, False)])
def test_a_rate_is_sustained_when_all_start_and_hardly_any_late(late: float, sustained: bool) -> None:
    assert punctuality([Start(0, 1_000, 1 + late)], {(0, 1_000)}, 1.0, 2.0).sustained is sustained


async def test_who_fails_on_a_disturbed_machine_may_try_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disturbed, calm = {"sustained": False, "stolen_share": 0.2}, {"sustained": False, "stolen_share": 0.0}
    sustained = {"sustained": True, "stolen_share": 0.2}
    found = iter([disturbed, sustained, disturbed, disturbed, disturbed, calm])

    async def load(*_: object) -> dict[str, object]:
        return dict(next(found))

    monkeypatch.setattr(schedules, "run_load", load)
    with Server(tmp_path) as server:
        run = Run(parse(["--only", "ours", "apscheduler_memory", "docket", "--parts", "rates", "--rates", "1"]), server)
        failed: dict[str, int] = {}
        rows = [await run._rung(contestant, 10, 1, failed) for contestant in run._options.only]
    assert [(row["sustained"], row["tries"]) for row in rows] == [(True, 2), (False, 3), (False, 1)]
    assert set(failed) == {"apscheduler_memory", "docket"}
    assert next(found, None) is None


def test_what_the_host_kept_back_is_told() -> None:
    before, after = psutil.cpu_times(), psutil.cpu_times()
    assert 0 <= stolen_share(before, after) <= 1
    if hasattr(after, "steal"):
        later = before._replace(idle=before.idle + 6, steal=before.steal + 2)
        assert stolen_share(before, later) == pytest.approx(0.25)


def test_percentiles_are_values_that_occurred() -> None:
    assert [percentile(range(1, 101), percent) for percent in (0, 50, 99, 99.9, 100)] == [1, 50, 99, 100, 100]


def test_options_name_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert parse(["--only", "ours"]).only == ("roundsman",)
    assert parse(["--quick", "--rates", "7"]).rates == [7]
    with pytest.raises(SystemExit):
        parse(["--only", "celery"])
    assert "invalid choice: 'celery'" in capsys.readouterr().err


async def test_quick_run_of_jobs_executes_all_and_weighs_and_looks(tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    command = ["-m", "benchmarks.jobs", "--quick", "--parts", "drained", "looks", "--json", str(figures)]
    process = await create_subprocess_exec(sys.executable, *command, cwd=ROOT, stdout=PIPE, stderr=PIPE)
    printed, progress = await process.communicate()
    assert process.returncode == 0, progress.decode()
    assert "| Roundsman | 200 |" in printed.decode()
    found = json.loads(figures.read_text())
    (row,) = found["drained"]
    assert (row.get("failed"), row["executed"], row["repeated"]) == (None, 200, 0)
    assert row["enqueued_per_s"] > 0
    assert row["executed_per_s"] > 0
    assert 100 < row["event_bytes_each"] < row["bytes_each"]
    (look,) = found["looks"]
    assert all(0 < times["p50"] <= times["p99"] for times in look["times"].values())


def test_the_board_tells_which_jobs_ran_and_which_twice(tmp_path: Path) -> None:
    with Board.create(tmp_path / "board", 4) as seen, Board(tmp_path / "board", 4) as written:
        assert (seen.bodies, seen.times(0, 4), seen.repeated()) == (0, [], 0)
        for index in (3, 0, 3):
            written.note(index)
        assert (seen.bodies, len(seen.times(0, 4)), len(seen.times(1, 2)), seen.repeated()) == (3, 2, 0, 1)


def test_options_of_jobs_name_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert jobs.parse(["--only", "ours", "celery"]).only == ("roundsman", "celery")
    assert jobs.parse(["--parts", "memory", "drained"]).parts == ("drained", "memory")
    with pytest.raises(SystemExit):
        jobs.parse(["--only", "apscheduler_redis"])
    assert "invalid choice: 'apscheduler_redis'" in capsys.readouterr().err


async def test_quick_run_of_monitoring_watches_a_fleet_until_its_alerts_arrive(tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    command = ["-m", "benchmarks.monitoring", "--quick", "--parts", "fleet", "--json", str(figures)]
    process = await create_subprocess_exec(sys.executable, *command, cwd=ROOT, stdout=PIPE, stderr=PIPE)
    printed, progress = await process.communicate()
    assert process.returncode == 0, progress.decode()
    assert "| 30 | 1 | 5 | firing | 5 |" in printed.decode()
    (row,) = json.loads(figures.read_text())["fleet"]
    assert "failed" not in row
    first = row["first"]
    assert (first["started"], first["sampled"], first["failed"]) == (30, 30, 0)
    assert set(first["calls"]) == set(CALLS)
    assert row["latency"]["firing"]["p50"] <= row["latency"]["firing"]["max"]


async def test_a_day_of_samples_is_weighed_by_worker(tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        found = await filled_day(server, "ec2", workers=2, interval_s=600)
    assert (found["workers"], found["samples_each"]) == (2, 144)
    assert 40 < found["bytes_each"] / 144 < 400
    assert found["bytes_an_event"] > 100


def test_options_of_monitoring_name_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert monitoring.parse(["--parts", "day", "fleet"]).parts == ("fleet", "day")
    assert monitoring.parse(["--quick", "--workers", "7"]).workers == [7]
    with pytest.raises(SystemExit):
        monitoring.parse(["--regions", "0"])
    assert "invalid choice: 0" in capsys.readouterr().err


async def test_estimates_are_compared_with_when_jobs_ended(tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        found = await job_estimates.played(server, tmp_path, seconds=1.0)
    assert found["jobs"] > 0
    assert found["asked"] >= found["unknown"] + len(found["rows"])
    row = {"job_id": "a", "task": "Slow", "status": "queued", "at": 0.0, "estimate": 3.0, "error_s": 1.0, "left_s": 4.0}
    line = "| that are queued | 1 | 4.00 s | 1.00 s | 1.00 s | 25% | 25% |"
    machine = {"date": "", "cores": 1, "cpu": "", "system": "", "python": "", "load_before": []}
    assert line in job_estimates.markdown({**found, "rows": [row], "machine": machine, "valkey": ""})
