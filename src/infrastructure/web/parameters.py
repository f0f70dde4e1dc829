"""Query parameters: what an operation does not know it refuses, so that a typo cannot do something else."""

from fastapi import Request
from fastapi.routing import APIRoute

from infrastructure.web.problems import invalid_fields


async def refuse_unknown_parameters(request: Request) -> None:
    """Raise ``InvalidRequest`` for parameters that the operation lacks, and for those given twice."""
    route: APIRoute = request.scope["route"]
    known = {field.alias for field in route.dependant.query_params}
    wrong = [
        {"loc": ["query", name[:100]], "msg": _why(name, known)}
        for name in sorted(request.query_params.keys())
        if name not in known or len(request.query_params.getlist(name)) > 1
    ]
    if wrong:
        raise invalid_fields(wrong)


def _why(name: str, known: set[str]) -> str:
    if name in known:
        return "this is given twice"
    return f"this is not known here; known: {', '.join(sorted(known)) or 'none'}"
