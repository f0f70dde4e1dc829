"""The settings of the provider ``aws``."""

from typing import Annotated

from pydantic import BeforeValidator, Field, StringConstraints, field_validator, model_validator

from infrastructure.setting_kinds import Seconds, Section, no_bool

DEFAULT_ACCOUNT = "default"

Region = Annotated[str, StringConstraints(pattern=r"^[a-z]{2,}(-[a-z]+)+-\d{1,2}$")]


class AwsAccount(Section):
    """Where the credentials for one account come from: a profile, an assumed role, or botocore's default chain."""

    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._\-]{0,63}$")]
    profile: Annotated[str, StringConstraints(max_length=200)] = ""
    role_arn: Annotated[str, StringConstraints(pattern=r"^(arn:aws[a-z-]*:iam::\d{12}:role/[\x21-\x7e]{1,512})?$")] = ""
    external_id: Annotated[str, StringConstraints(pattern=r"^([A-Za-z0-9_+=,.@:/-]{2,})?$", max_length=1224)] = Field(
        default="", repr=False
    )

    @model_validator(mode="after")
    def _id_needs_a_role(self) -> "AwsAccount":
        if self.external_id and not self.role_arn:
            raise ValueError("external_id is told when a role is assumed: give role_arn too, or leave it out")
        return self


class AwsSettings(Section):
    """Which accounts and regions are watched, and how CloudWatch is read."""

    accounts: tuple[AwsAccount, ...] = ()
    regions: tuple[Region, ...] = ()
    interval_s: Annotated[Seconds, Field(ge=1)] = 60.0
    delay_s: Annotated[float, BeforeValidator(no_bool), Field(ge=0, le=900, allow_inf_nan=False)] = 120.0
    filesystems_per_worker: Annotated[int, BeforeValidator(no_bool), Field(ge=0, le=20)] = 2
    calls_at_once: Annotated[int, BeforeValidator(no_bool), Field(ge=1, le=50)] = 8
    endpoint_url: Annotated[str, StringConstraints(pattern=r"^(https?://[^\s@]+)?$")] = ""

    @field_validator("accounts")
    @classmethod
    def _no_doubles(cls, accounts: tuple[AwsAccount, ...]) -> tuple[AwsAccount, ...]:
        names = [account.name for account in accounts]
        for index, name in enumerate(names):
            if (first := names.index(name)) < index:
                raise ValueError(f"[{first}] and [{index}] have the same name")
        return accounts

    @property
    def known_accounts(self) -> dict[str, AwsAccount]:
        """The accounts by name; without any in the settings, ``default`` with the default chain."""
        return {account.name: account for account in self.accounts or (AwsAccount(name=DEFAULT_ACCOUNT),)}

    @property
    def first_account(self) -> str:
        """The account of a worker that names none: ``default``, or else the first of the settings."""
        known = self.known_accounts
        return DEFAULT_ACCOUNT if DEFAULT_ACCOUNT in known else next(iter(known))
