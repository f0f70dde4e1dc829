"""What a process saw of an EC2 instance: shared with the others through Redis, as JSON."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict

from domain.monitoring.sample import CheckStatus
from infrastructure.monitoring.aws.buckets import BASIC_S, DETAILED_S
from infrastructure.monitoring.aws.trouble import AwsTrouble

State = Literal["pending", "running", "shutting-down", "terminated", "stopping", "stopped"]


class Instance(BaseModel):
    """What DescribeInstances tells of an instance."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: str
    state: State
    kind: str = ""
    """The instance type, such as ``m7g.large``."""
    zone: str = ""
    launched_at: datetime | None = None
    is_detailed: bool = False
    tags: dict[str, str] = {}

    @property
    def period_s(self) -> int:
        """How long one value of its metrics is the average of."""
        return DETAILED_S if self.is_detailed else BASIC_S


class Checks(BaseModel):
    """EC2's status checks of an instance."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    system: CheckStatus
    instance: CheckStatus
    attached_ebs: CheckStatus = CheckStatus.NOT_APPLICABLE


class Values(BaseModel):
    """The metrics of one closed period. ``end`` is its end (seconds since the epoch).

    ``asked_end`` and ``asked_at`` tell which period was asked for and when: what is known is not asked for, and paid
    for, again.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    end: int
    period_s: int
    asked_end: int
    asked_at: datetime
    metrics: dict[str, float] = {}
    filesystems: dict[str, float] = {}
    missing: dict[str, str] = {}
    is_empty: bool = False


class Seen(BaseModel):
    """One look at an instance. ``instance`` is None when EC2 does not have it, ``trouble`` says why nobody could look.

    ``absent_since`` and ``absences`` count the looks in which EC2 did not have it, one after the other.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    at: datetime
    instance: Instance | None = None
    checks: Checks | None = None
    checks_missing: str = ""
    values: Values | None = None
    trouble: str | None = None
    absent_since: datetime | None = None
    absences: int = 0

    @classmethod
    def failed(cls, before: "Seen | None", trouble: AwsTrouble, at: datetime) -> "Seen":
        """Return a look that did not succeed; what was known stays for the next one."""
        return (before or cls(at=at)).model_copy(update={"trouble": trouble.why, "at": at})

    @classmethod
    def absent(cls, before: "Seen | None", at: datetime) -> "Seen":
        """Return a look in which EC2 did not have the instance."""
        since = before.absent_since if before and before.absent_since else at
        return cls(at=at, absent_since=since, absences=(before.absences if before else 0) + 1)
