"""What can go wrong with AWS, in words for people: which call, why, and how to mend it; never a key."""

import re
from enum import StrEnum
from typing import Any

LONGEST_QUOTE = 300
KEYS = re.compile(r"\b(A[A-Z]{3}[A-Z0-9]{12,}|[A-Za-z0-9/+=]{40,})")
"""Access key ids and what may be secret keys, tokens or encoded messages."""

THROTTLED = frozenset(
    {
        "BandwidthLimitExceeded",
        "EC2ThrottledException",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestThrottledException",
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "ThrottledException",
        "TooManyRequestsException",
        "LimitExceededException",
    }
)
DENIED = frozenset({"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "OptInRequired", "Blocked"})
EXPIRED = frozenset({"ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired"})
UNKNOWN_KEY = frozenset(
    {
        "AuthFailure",
        "IncompleteSignature",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "MissingAuthenticationToken",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    }
)
DOWN = frozenset({"InternalError", "InternalFailure", "InternalServiceError", "ServiceUnavailable", "Unavailable"})

PERMISSIONS = {
    "DescribeInstances": "ec2:DescribeInstances",
    "DescribeInstanceStatus": "ec2:DescribeInstanceStatus",
    "GetMetricData": "cloudwatch:GetMetricData",
    "ListMetrics": "cloudwatch:ListMetrics",
    "AssumeRole": "sts:AssumeRole",
}
"""Call → the permission that it needs. The policy is in docs/how-to/monitor-aws.md."""


class Kind(StrEnum):
    """What sort of trouble it is, which says who can mend it."""

    THROTTLED = "throttled"
    CREDENTIALS = "credentials"
    DENIED = "denied"
    DOWN = "down"
    UNKNOWN_INSTANCE = "unknown_instance"
    REFUSED = "refused"


class AwsTrouble(Exception):
    """A call that did not succeed. ``why`` is a sentence for people, ``names`` are instances that AWS does not know."""

    def __init__(self, kind: Kind, why: str, names: frozenset[str] = frozenset()) -> None:
        super().__init__(why)
        self.kind = kind
        self.why = why
        self.names = names

    @property
    def is_of_this_process(self) -> bool:
        """Tell whether another process, with credentials of its own, may fare better."""
        return self.kind in (Kind.CREDENTIALS, Kind.DENIED)


def explain(error: Exception, call: str, account: str, region: str) -> AwsTrouble:
    """Return what botocore raised as trouble."""
    if isinstance(error, AwsTrouble):
        return error
    where = f"region {region} (account '{account}')"
    answer: Any = getattr(error, "response", None)
    if isinstance(answer, dict) and isinstance(answer.get("Error"), dict):
        return _answered(answer, getattr(error, "operation_name", None) or call, account, where)
    name = type(error).__name__
    if name in (
        "NoCredentialsError",
        "PartialCredentialsError",
        "CredentialRetrievalError",
        "UnauthorizedSSOTokenError",
    ):
        why = f"no credentials for the account '{account}' were found; give this process a role, a profile or a key"
        return AwsTrouble(Kind.CREDENTIALS, why)
    if name in ("ProfileNotFound", "ConfigParseError", "ConfigNotFound", "TokenRetrievalError", "SSOTokenLoadError"):
        return AwsTrouble(
            Kind.CREDENTIALS, f"the credentials of account '{account}' cannot be read: {scrub(str(error))}"
        )
    if isinstance(error, TimeoutError) or name.endswith(("TimeoutError", "ConnectionError", "ConnectionClosedError")):
        return AwsTrouble(Kind.DOWN, f"{where} did not answer {call}; it may be down, or not reachable from here")
    return AwsTrouble(Kind.REFUSED, f"{call} failed in {where}: {scrub(f'{name}: {error}')}")


def scrub(text: str) -> str:
    """Return a message without what may be a key or a token, and not endless."""
    text = text.partition("Encoded authorization failure message")[0].strip()
    text = KEYS.sub("…", " ".join(text.split()))
    return text if len(text) <= LONGEST_QUOTE else text[:LONGEST_QUOTE] + "…"


def _answered(answer: dict[str, Any], call: str, account: str, where: str) -> AwsTrouble:
    code, message = str(answer["Error"].get("Code", "")), str(answer["Error"].get("Message", ""))
    status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if code in THROTTLED:
        return AwsTrouble(Kind.THROTTLED, f"{where} throttles {call}: too many calls are made with this account")
    if code in DENIED:
        permission = PERMISSIONS.get(call, call)
        return AwsTrouble(Kind.DENIED, f"the permission {permission} is missing for the account '{account}'")
    if code in EXPIRED:
        why = f"the credentials of account '{account}' have expired; renew them where they come from"
        return AwsTrouble(Kind.CREDENTIALS, why)
    if code in UNKNOWN_KEY:
        return AwsTrouble(Kind.CREDENTIALS, f"AWS does not accept the credentials of account '{account}' in {where}")
    if code.startswith("InvalidInstanceID"):
        names = frozenset(re.findall(r"i-[0-9a-zA-Z]+", message))
        return AwsTrouble(Kind.UNKNOWN_INSTANCE, f"{where} does not know {', '.join(sorted(names))}", names)
    if code in DOWN or status >= 500:
        return AwsTrouble(Kind.DOWN, f"{where} cannot answer {call} now (HTTP {status})")
    return AwsTrouble(Kind.REFUSED, f"{call} was refused in {where}: {scrub(f'{code}: {message}')}")
