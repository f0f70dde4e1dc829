"""How jobs fared, over HTTP."""

from datetime import date, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from domain.jobs.errors import HistoryIsOff, HistoryUnavailable
from domain.jobs.request import Person
from domain.jobs.statistics import ENDINGS, Sketch, Tally
from infrastructure.web.access import VIEWER
from infrastructure.web.json_models import example
from infrastructure.web.problem_docs import problems
from infrastructure.web.services import FromServices

router = APIRouter(prefix="/jobs", tags=["jobs"])

MOST_DAYS = 366
TIMES: dict[str, Any] = {"p50": 0.113, "p95": 1.62, "p99": 4.05}
FIGURES: dict[str, Any] = {
    "total": 1043,
    "succeeded": 1021,
    "failed": 12,
    "cancelled": 10,
    "expired": 0,
    "success_rate": 0.9884,
    "waiting_s": TIMES,
    "running_s": {"p50": 0.842, "p95": 9.37, "p99": 14.9},
}
STATS: dict[str, Any] = {
    "since": "2026-11-22",
    "until": "2026-11-22",
    "team_id": None,
    "all": FIGURES,
    "by_task": [{"name": "ImportCustomers", **FIGURES}],
    "by_queue": [{"name": "pro", **FIGURES}],
    "by_team": [{"name": "", **FIGURES}],
    "by_day": [{"name": "2026-11-22", **FIGURES}],
}


class Times(BaseModel):
    """Durations (s) that half, 95 % and 99 % of the jobs did not exceed, within 2 %."""

    model_config = example(TIMES)

    p50: float
    p95: float
    p99: float

    @classmethod
    def of(cls, sketch: Sketch) -> "Times | None":
        """Return what a sketch tells; None of none."""
        found = [sketch.quantile(share) for share in (0.5, 0.95, 0.99)]
        p50, p95, p99 = (None if ms is None else float(f"{ms / 1000:.3g}") for ms in found)
        return None if p50 is None or p95 is None or p99 is None else cls(p50=p50, p95=p95, p99=p99)


class Figures(BaseModel):
    """How some jobs fared."""

    model_config = example(FIGURES)

    total: int
    succeeded: int
    failed: int
    cancelled: int
    expired: int
    success_rate: float | None = Field(
        description="Which share of those that were not cancelled succeeded; null of none."
    )
    waiting_s: Times | None = Field(description="From when a job could begin to its first start; null of none.")
    running_s: Times | None = Field(description="How long the last attempt ran; null of none.")

    @classmethod
    def told(cls, tally: Tally) -> dict[str, Any]:
        """Return a tally in these words."""
        rate = tally.success_rate
        return {
            "total": tally.total,
            **{status.value: tally.counts[status.value] for status in ENDINGS},
            "success_rate": None if rate is None else round(rate, 4),
            "waiting_s": Times.of(tally.waiting),
            "running_s": Times.of(tally.running),
        }


class NamedFigures(Figures):
    """How the jobs of one task, queue, team or day fared."""

    model_config = example({"name": "pro", **FIGURES})

    name: str = Field(description="Of whom; empty for the jobs without a queue, or without a team.")


class JobStatsAnswer(BaseModel):
    """How jobs fared that ended on some days, those of UTC."""

    model_config = example(STATS)

    since: date = Field(description="The first day.")
    until: date = Field(description="The last day, today.")
    team_id: str | None
    all: Figures
    by_task: list[NamedFigures] = Field(description="The 100 tasks with the most jobs.")
    by_queue: list[NamedFigures] = Field(description="The 100 queues with the most jobs.")
    by_team: list[NamedFigures] = Field(description="The 100 teams with the most jobs.")
    by_day: list[NamedFigures] = Field(description="Each day, oldest first.")


@router.get(
    "/stats",
    summary="Tell how jobs fared",
    dependencies=VIEWER,
    responses=problems(HistoryIsOff(), HistoryUnavailable(why="Connection refused")),
)
async def get_stats(
    services: FromServices,
    days: Annotated[int, Query(ge=1, le=MOST_DAYS, description="Of how many days, today included.", examples=[7])] = 7,
    team_id: Annotated[Person | None, Query(description="Only of this team.", examples=["acme"])] = None,
) -> JobStatsAnswer:
    """Return counts, success rates and times of jobs that are over, of all and by task, queue, team and day.

    They come from the history, which has a job about a second after it ended, and are kept as long as the setting
    `history.kept_days` says.
    """
    stats = await services.jobs.stats(days, team_id)
    until = date.fromisoformat(list(stats.days)[-1])
    groups = {"task": stats.tasks, "queue": stats.queues, "team": stats.teams, "day": stats.days}
    return JobStatsAnswer(
        since=until - timedelta(days=days - 1),
        until=until,
        team_id=team_id,
        all=Figures(**Figures.told(stats.all)),
        **{
            f"by_{name}": [NamedFigures(name=one, **Figures.told(tally)) for one, tally in tallies.items()]
            for name, tallies in groups.items()
        },
    )
