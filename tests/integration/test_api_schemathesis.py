"""No request breaks a route: schemathesis asks each operation for what its document describes, and for what not.

It makes the cases from the document's own limits, the same ones each time. Every answer must be one that the document
describes, with its content type and schema, and none a 500. Streams, which other tests follow, are left out.
"""

import sys
from asyncio import create_subprocess_exec
from asyncio.subprocess import PIPE, STDOUT
from pathlib import Path

import pytest

from api_kit import Api

OPTIONS = (
    *("--phases", "coverage", "--generation-deterministic", "--continue-on-failure", "--warnings", "off", "--no-color"),
    *("--include-path-regex", "^/api/v1", "--exclude-path-regex", "/events$"),
    *("--checks", "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"),
)
FEWEST = {"positive": 500, "negative": 2_000}
"""Cases; with fewer something is not looked at."""


@pytest.mark.parametrize("mode", FEWEST)
async def test_no_request_breaks_a_route(redis_url: str, namespace: str, tmp_path: Path, mode: str) -> None:
    async with Api(redis_url, namespace) as api:
        for name in ("a", "0"):
            await api.post("/schedules", {"id": name, "name": "Note", "trigger": {"interval_s": 3600}})
            await api.post("/workers", {"id": name, "name": name, "provider": "scripted"})
        program = Path(sys.executable).with_name("schemathesis")
        asked = ("run", f"{api.base}/openapi.json", "--mode", mode, *OPTIONS)
        process = await create_subprocess_exec(program, *asked, cwd=tmp_path, stdout=PIPE, stderr=STDOUT)
        try:
            told, _ = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    assert process.returncode == 0, told.decode()
    generated = told.decode().partition(" generated,")[0].rpartition("\n")[2]
    assert int(generated) >= FEWEST[mode]
