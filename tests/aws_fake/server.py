"""The stand-in's HTTP server: small, quick, on loopback, in the event loop that starts it."""

import asyncio
import dataclasses
import json
import re
from datetime import UTC, datetime
from types import TracebackType
from typing import Any
from urllib.parse import parse_qsl
from xml.sax.saxutils import escape

from aws_fake.cloudwatch import get_metric_data, list_metrics
from aws_fake.ec2 import describe_instance_status, describe_instances
from aws_fake.fleet import FakeInstance, Fault, Fleet
from aws_fake.query import Refusal

SCOPE = re.compile(r"Credential=([^/]+)/\d+/([^/]+)/([^/]+)/")
IN_RESULTS = ("partial", "internal")
CUT = b""


class AwsFake:
    """Serve ``fleet`` at ``url`` while it is entered."""

    def __init__(self, fleet: Fleet | None = None, port: int = 0) -> None:
        self.fleet = fleet or Fleet()
        self.url = ""
        self._port = port
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> "AwsFake":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._port, limit=2**20)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for task in list(self._connections):
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            while answer := await self._one(reader):
                writer.write(answer)
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        except asyncio.CancelledError:
            if self._server is not None and self._server.is_serving():
                raise
        finally:
            self._connections.discard(task)
            writer.close()

    async def _one(self, reader: asyncio.StreamReader) -> bytes:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        path = first.split()[1]
        if path.startswith("/fake/"):
            return _http(200, json.dumps(self.control(path, json.loads(body or b"{}"))), "application/json")
        form = dict(parse_qsl(body.decode(), keep_blank_values=True))
        return await self._aws(form, headers.get("authorization", ""))

    async def _aws(self, form: dict[str, str], authorization: str) -> bytes:
        found = SCOPE.search(authorization)
        key, region, service = found.groups() if found else ("", "", "")
        action = form.get("Action", "")
        self.fleet.calls[f"{region} {action}"] += 1
        self.fleet.keys_seen[key] += 1
        fault = self.fleet.fault(region, action, key)
        try:
            if fault is not None and fault.kind == "hang":
                await (asyncio.sleep(3_600) if fault.until is None else fault.until.wait())
            elif fault is not None and fault.kind not in IN_RESULTS:
                if fault.kind == "cut":
                    return CUT
                status = 503 if fault.kind in ("unavailable", "RequestLimitExceeded") else 400
                code = "ServiceUnavailable" if fault.kind == "unavailable" else fault.kind
                raise Refusal(code, fault.message or f"this is {code}", status)
            result = self._answer(region, form, fault)
        except Refusal as refusal:
            self.fleet.refused[refusal.code] += 1
            return _http(refusal.status, _error(service, refusal))
        if service == "ec2":
            return _http(200, f"<{action}Response>{result}</{action}Response>")
        return _http(200, f"<{action}Response><{action}Result>{result}</{action}Result></{action}Response>")

    def _answer(self, region: str, form: dict[str, str], fault: Fault | None) -> str:
        match form.get("Action"):
            case "DescribeInstances":
                return describe_instances(self.fleet, region, form)
            case "DescribeInstanceStatus":
                return describe_instance_status(self.fleet, region, form)
            case "GetMetricData":
                return get_metric_data(self.fleet, region, form, fault)
            case "ListMetrics":
                return list_metrics(self.fleet, region, form)
            case "AssumeRole":
                return self._assume_role(form)
        raise Refusal("InvalidAction", f"The action {form.get('Action')} is not valid for this web service.")

    def _assume_role(self, form: dict[str, str]) -> str:
        role = form["RoleArn"]
        if self.fleet.external_ids.get(role, "") != form.get("ExternalId", ""):
            raise Refusal("AccessDenied", f"User is not authorized to perform: sts:AssumeRole on {role}", 403)
        ends = datetime.fromtimestamp(self.fleet.now + self.fleet.role_expires_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return (
            f"<Credentials><AccessKeyId>ASIA{role.rpartition('/')[2]}</AccessKeyId><SecretAccessKey>s</SecretAccessKey>"
            f"<SessionToken>t</SessionToken><Expiration>{ends}</Expiration></Credentials>"
            f"<AssumedRoleUser><AssumedRoleId>r:s</AssumedRoleId><Arn>{escape(role)}</Arn></AssumedRoleUser>"
        )

    def control(self, path: str, wanted: dict[str, Any]) -> dict[str, Any]:
        """Set or show the state from outside.

        ``/fake/reset``, ``/fake/grow`` {region, count, …}, ``/fake/add`` {region, instances}, ``/fake/change`` {region,
        id, …}, ``/fake/fault`` {kind, …}, ``/fake/mend``, ``/fake/set`` {page, lag_s, …}, ``/fake/calls``.
        """
        fleet = self.fleet
        match path.removeprefix("/fake/"):
            case "reset":
                fleet.reset()
            case "grow":
                return {"ids": fleet.grow(wanted.pop("region"), wanted.pop("count"), **wanted)}
            case "add":
                fleet.add(wanted["region"], *(FakeInstance(**one) for one in wanted["instances"]))
            case "change":
                region, name = wanted.pop("region"), wanted.pop("id")
                fleet.regions[region][name] = dataclasses.replace(fleet.regions[region][name], **wanted)
            case "fault":
                fleet.faults.append(Fault(**wanted))
            case "mend":
                fleet.faults.clear()
            case "set":
                for name, value in wanted.items():
                    setattr(fleet, name, value)
        return {"calls": dict(fleet.calls), "refused": dict(fleet.refused), "queries": fleet.queries}


def _error(service: str, refusal: Refusal) -> str:
    what = f"<Code>{escape(refusal.code)}</Code><Message>{escape(refusal.message)}</Message>"
    if service == "ec2":
        return f"<Response><Errors><Error>{what}</Error></Errors><RequestID>1</RequestID></Response>"
    return f"<ErrorResponse><Error><Type>Sender</Type>{what}</Error><RequestId>1</RequestId></ErrorResponse>"


def _http(status: int, text: str, kind: str = "text/xml") -> bytes:
    body = text.encode()
    return f"HTTP/1.1 {status} x\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
