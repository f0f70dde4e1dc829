"""Parameters of requests: times, and how unknown ones are refused, so that a typo cannot do something else."""

from datetime import datetime
from typing import Annotated

from fastapi import Request
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from pydantic import AfterValidator

from domain.scheduling.policy import UtcDatetime
from infrastructure.web.problems import invalid_fields


def _since_1970(moment: datetime) -> datetime:
    if moment.timestamp() < 0:
        raise ValueError("the time is before 1970, from which times are counted")
    return moment


CountedTime = Annotated[UtcDatetime, AfterValidator(_since_1970)]
"""A time in UTC from 1970 on."""


async def refuse_unknown_parameters(request: Request) -> None:
    """Raise ``InvalidRequest`` for parameters that the operation lacks, and for those given twice."""
    route: APIRoute = request.scope["route"]
    known = _parameters(route.dependant)
    wrong = [
        {"loc": ["query", name[:100]], "msg": _why(name, known)}
        for name in sorted(request.query_params.keys())
        if name not in known or len(request.query_params.getlist(name)) > 1
    ]
    if wrong:
        raise invalid_fields(wrong)


def _parameters(dependant: Dependant) -> set[str]:
    """Return what a route takes by itself and by what it depends on."""
    below = (_parameters(one) for one in dependant.dependencies)
    return {field.alias for field in dependant.query_params}.union(*below)


def _why(name: str, known: set[str]) -> str:
    if name in known:
        return "this is given twice"
    return f"this is not known here; known: {', '.join(sorted(known)) or 'none'}"
