"""The web application: features behind one door."""

import asyncio
from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager
from functools import cache
from importlib.metadata import version
from typing import Any

from fastapi import APIRouter, Depends, FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.telemetry import TelemetryConfig
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse

from infrastructure.settings import ServerSettings
from infrastructure.web import (
    alert_rules,
    alerts,
    audit,
    channels,
    deliveries,
    docs_page,
    events,
    fleet,
    instances,
    job_events,
    job_stats,
    jobs,
    metrics,
    monitoring,
    openapi,
    probes,
    schedules,
    silences,
    workers,
)
from infrastructure.web.access import told_by
from infrastructure.web.bodies import Bodies
from infrastructure.web.door import Door, ResponseHeaders
from infrastructure.web.job_requests import CORRELATION_HEADER, KEY_HEADER
from infrastructure.web.parameters import refuse_unknown_parameters
from infrastructure.web.problems import API, ErrorAnswers, on_http_error, on_invalid_request
from infrastructure.web.services import Services
from infrastructure.web.traces import FollowTraces

FEATURES: tuple[APIRouter, ...] = (
    workers.router,
    monitoring.router,
    fleet.router,
    schedules.router,
    job_stats.router,  # before what takes any id
    jobs.router,
    job_events.router,
    deliveries.router,
    alerts.router,
    alert_rules.router,
    silences.router,
    channels.router,
    instances.router,
    events.router,
    audit.router,
)

JOB_HEADERS = (KEY_HEADER, CORRELATION_HEADER)

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[Any]]


def create_web_app(
    services: Services | Callable[[], Services],
    settings: ServerSettings,
    lifespan: Lifespan | None = None,
    tracing: TelemetryConfig | None = None,
    caller: Callable[..., Any] | None = None,
) -> FastAPI:
    """Return the application; ``services`` may be a function, asked at each request, that the lifespan gives a meaning.

    ``tracing`` is how FastAPI makes spans of requests; None leaves that to the providers of the whole process. Serve it
    with ``infrastructure.web.server``: that ends event streams when it stops. ``caller`` is a dependency that says who
    calls, instead of API keys.
    """
    guard = [] if caller is None else [told_by(caller)]
    app = bare_app(services, settings, (probes.router, docs_page.router), lifespan, tracing, is_guarded=bool(guard))
    app.include_router(metrics.router, dependencies=guard)
    for router in FEATURES:
        app.include_router(router, prefix=API, dependencies=[*guard, Depends(refuse_unknown_parameters)])
    _add_document(app)
    return app


def bare_app(
    services: Services | Callable[[], Services],
    settings: ServerSettings,
    routers: Iterable[APIRouter],
    lifespan: Lifespan | None = None,
    tracing: TelemetryConfig | None = None,
    *,
    is_guarded: bool = False,
) -> FastAPI:
    """Return an application with these routes, the door before them and errors told as problems."""
    app = FastAPI(
        title="Roundsman",
        version=version("roundsman"),
        description=openapi.DESCRIPTION,
        openapi_tags=openapi.TAGS,
        lifespan=lifespan,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        exception_handlers={RequestValidationError: on_invalid_request, HTTPException: on_http_error},
        telemetry=tracing,
    )
    app.state.services = services if callable(services) else lambda: services
    app.state.streams = events.OpenStreams()
    app.state.is_guarded = is_guarded
    for router in routers:
        app.include_router(router)
    _add_middleware(app, settings, is_guarded)
    return app


def _add_document(app: FastAPI) -> None:
    @cache
    def document() -> dict[str, Any]:
        return openapi.make_document(app)

    async def send_document(request: Request) -> JSONResponse:
        base = request.scope["root_path"]
        made = await asyncio.to_thread(document)  # takes long enough to be noticed by who waits for the loop
        return JSONResponse({**made, "servers": [{"url": base or "/"}]})

    app.openapi = document  # type: ignore[method-assign]  # the way FastAPI documents for an own document
    app.add_route("/openapi.json", send_document, include_in_schema=False)


def _add_middleware(app: FastAPI, settings: ServerSettings, is_guarded: bool) -> None:
    """Wrap the application, innermost first: refused and failed requests get their headers too."""
    app.add_middleware(Bodies)
    app.add_middleware(FollowTraces)
    app.add_middleware(Door, settings=settings, is_guarded=is_guarded)
    app.add_middleware(ErrorAnswers)
    if settings.allowed_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.allowed_origins,
            allow_methods=("GET", "POST", "PUT", "PATCH", "DELETE"),
            allow_headers=(*("Authorization", "Content-Type", "Last-Event-ID"), *JOB_HEADERS),
            expose_headers=("Location", "Retry-After"),
        )
    app.add_middleware(ResponseHeaders)
