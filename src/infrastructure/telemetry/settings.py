"""The section ``telemetry`` of the settings."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, field_validator

from infrastructure.setting_kinds import Section, no_bool
from infrastructure.telemetry.addresses import check_endpoint, check_listen_address


class TelemetrySettings(Section):
    """What the program says about itself."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["console", "json"] = "console"
    metrics_address: Annotated[str, AfterValidator(check_listen_address)] = ""
    otlp_endpoint: Annotated[str, AfterValidator(check_endpoint)] = ""
    trace_ratio: Annotated[float, BeforeValidator(no_bool), Field(ge=0, le=1, allow_inf_nan=False)] = 1.0

    @field_validator("log_level", mode="before")
    @classmethod
    def _lower(cls, level: object) -> object:
        return level.lower() if isinstance(level, str) else level
