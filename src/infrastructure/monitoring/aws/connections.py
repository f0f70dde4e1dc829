"""The connections to AWS: a client for each account, region and service, opened when needed, closed at the end."""

import asyncio
import importlib
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any
from urllib.parse import urlencode

from infrastructure.monitoring.aws.sessions import make_session
from infrastructure.monitoring.aws.settings import AwsAccount, AwsSettings
from infrastructure.monitoring.aws.trouble import AwsTrouble, Kind, explain

CONNECT_TIMEOUT_S = 2.0
READ_TIMEOUT_S = 8.0
ATTEMPTS = 4
"""With the pauses between them: a region that is down is told of before the run that asks is cut off."""
SESSION_NAME = "roundsman"
RETIRED_S = 60.0
"""Longer than any call: a client whose credentials were refused may still be in use by others."""


class AwsConnections:
    """Hosted service: own the clients of one process.

    botocore is imported, and the models of the services are read, in a thread and at the first use: a program without
    AWS pays nothing, and one with it does not stall. ``stop`` closes all; a later use opens anew.
    """

    def __init__(self, settings: AwsSettings) -> None:
        self.settings = settings
        self._accounts = settings.known_accounts
        self._lock = asyncio.Lock()
        self._clients: dict[tuple[str, str, str], Any] = {}
        self._retired: list[tuple[float, Any]] = []
        self._sessions: dict[str, Any] = {}
        self._gates: dict[tuple[str, str], asyncio.Semaphore] = {}
        self._loader: Any = None

    async def start(self) -> None:
        """Do nothing: what is needed is opened then."""

    async def stop(self) -> None:
        """Close every client; twice is fine."""
        async with self._lock:
            clients = [*self._clients.values(), *(client for _, client in self._retired)]
            self._clients.clear()
            self._retired.clear()
            self._sessions.clear()
            await asyncio.gather(*(_close(client) for client in clients))

    @property
    def opened(self) -> int:
        """How many clients are open."""
        return len(self._clients) + len(self._retired)

    async def call(self, account: str, region: str, service: str, operation: str, **arguments: Any) -> dict[str, Any]:
        """Make one call; raises ``AwsTrouble``. Throttling and short outages are tried again, with pauses."""
        name = "".join(word.capitalize() for word in operation.split("_"))
        gate = self._gates.setdefault((account, region), asyncio.Semaphore(self.settings.calls_at_once))
        try:
            client = await self._client(account, region, service)
            method: Callable[..., Awaitable[dict[str, Any]]] = getattr(client, operation)
            async with gate:
                return await method(**arguments)
        except Exception as error:  # noqa: BLE001 - raised again, in words
            trouble = explain(error, name, account, region)
            if trouble.kind is Kind.CREDENTIALS:
                await self._forget(account)
            raise trouble from None  # botocore's errors may quote what was sent

    async def _client(self, account: str, region: str, service: str) -> Any:
        key = (account, region, service)
        async with self._lock:
            if key not in self._clients:
                session = await self._session(account)
                opening = session.client(service, region_name=region, **self._options())
                self._clients[key] = client = await opening.__aenter__()
                client.meta.events.register("before-call", _encode_once)
            return self._clients[key]

    async def _forget(self, account: str) -> None:
        """Read the credentials of an account anew at its next call: somebody may have renewed them."""
        async with self._lock:
            self._sessions.pop(account, None)
            now = time.monotonic()
            for key in [key for key in self._clients if key[0] == account]:
                self._retired.append((now, self._clients.pop(key)))
            old = [client for since, client in self._retired if now - since > RETIRED_S]
            self._retired = [(since, client) for since, client in self._retired if now - since <= RETIRED_S]
            for client in old:
                await _close(client)

    async def _session(self, name: str) -> Any:
        account = self._accounts.get(name)
        if account is None:
            known = ", ".join(sorted(self._accounts))
            raise AwsTrouble(Kind.CREDENTIALS, f"monitoring.aws.accounts has no '{name}' (it has: {known})")
        if name not in self._sessions:
            session, self._loader = await asyncio.to_thread(make_session, account, self._loader)
            if account.role_arn:
                session = await self._with_role(session, account)
            self._sessions[name] = session
        return self._sessions[name]

    async def _with_role(self, source: Any, account: AwsAccount) -> Any:
        """Return a session that assumes the account's role, and does so again before its credentials expire."""
        credentials = importlib.import_module("aiobotocore.credentials")
        found = await source.get_credentials()
        if found is None:
            why = f"there are no credentials to assume the role of account '{account.name}' with"
            raise AwsTrouble(Kind.CREDENTIALS, why)
        extra = {"RoleSessionName": SESSION_NAME} | ({"ExternalId": account.external_id} if account.external_id else {})
        region = source.region_name or "us-east-1"
        fetcher = credentials.AioAssumeRoleCredentialFetcher(
            client_creator=partial(source.client, region_name=region, **self._options()),
            source_credentials=found,
            role_arn=account.role_arn,
            extra_args=extra,
        )
        session, self._loader = await asyncio.to_thread(make_session, AwsAccount(name=account.name), self._loader)
        session._session._credentials = credentials.AioDeferredRefreshableCredentials(  # noqa: SLF001 - has no setter
            refresh_using=fetcher.fetch_credentials, method="assume-role"
        )
        return session

    def _options(self) -> dict[str, Any]:
        config = importlib.import_module("aiobotocore.config")
        options: dict[str, Any] = {
            "config": config.AioConfig(
                connect_timeout=CONNECT_TIMEOUT_S,
                read_timeout=READ_TIMEOUT_S,
                retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
                max_pool_connections=self.settings.calls_at_once,
                tcp_keepalive=True,
                parameter_validation=False,
            )
        }
        if self.settings.endpoint_url:
            options["endpoint_url"] = self.settings.endpoint_url
        return options


def _encode_once(params: dict[str, Any], **_: Any) -> None:
    """Encode the form that is sent: botocore does it to sign it and again to send it, 30 ms each for 500 metrics."""
    if params.get("body") and isinstance(params["body"], dict):
        params["body"] = urlencode(params["body"], doseq=True)


async def _close(client: Any) -> None:
    await client.__aexit__(None, None, None)
