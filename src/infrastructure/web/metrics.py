"""Metrics over HTTP, for Prometheus and whoever reads its text."""

from fastapi import APIRouter, Request, Response

from infrastructure.web.access import VIEWER
from infrastructure.web.errors import HostRefused, InternalError, KeyRefused, NoSuchPath, NotAuthenticated
from infrastructure.web.problem_docs import problems
from infrastructure.web.services import FromServices

router = APIRouter(tags=["health"])

TEXT = "# TYPE roundsman_runs_held gauge\nroundsman_runs_held 3.0\n"
REFUSALS = (
    HostRefused(host="evil.example"),
    InternalError(error_id="5f2c1b7a90de"),
    NotAuthenticated(),
    KeyRefused(why="it is none of those in server.api_keys"),
)
ANSWERS = {
    **problems(everywhere=REFUSALS),
    200: {
        "description": "The text format of Prometheus, or OpenMetrics where `Accept` asks for it.",
        "content": {"text/plain": {"schema": {"type": "string"}, "example": TEXT}},
    },
}


@router.get(
    "/metrics", summary="What does this process count?", response_class=Response, responses=ANSWERS, dependencies=VIEWER
)
async def metrics(services: FromServices, request: Request) -> Response:
    """Tell what this process counted, and what is in the store."""
    if services.metrics is None:
        raise NoSuchPath(path=request.scope["path"], api="/api/v1", docs="/docs")
    text, media_type = await services.metrics.render(request.headers.get("accept", ""))
    return Response(text, media_type=media_type)
