"""What can be set of the store."""

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, SecretStr, field_validator, model_validator

from infrastructure.redis.access import StoreAccess
from infrastructure.redis.tls import TlsFiles
from infrastructure.redis.url import check_namespace, check_url, read_url
from infrastructure.setting_kinds import FileName, Section, as_value_error, no_bool, secret_of


class StoreSettings(Section):
    """Where the state lives."""

    from_files = ("redis_url_file", "tls_key_password_file", "sentinel_password_file")

    redis_url: SecretStr = SecretStr("")
    tls_ca_file: FileName = ""
    tls_cert_file: FileName = ""
    tls_key_file: FileName = ""
    tls_key_password: SecretStr = SecretStr("")
    sentinel_user: str = ""
    sentinel_password: SecretStr = SecretStr("")
    namespace: str = "roundsman"
    durability: Literal["memory", "disk"] = "memory"
    start_timeout_s: Annotated[float, BeforeValidator(no_bool), Field(ge=0, le=3_600, allow_inf_nan=False)] = 30.0

    @property
    def access(self) -> StoreAccess:
        """What opens the store beside its URL."""
        files = TlsFiles(
            tls_ca_file=self.tls_ca_file,
            tls_cert_file=self.tls_cert_file,
            tls_key_file=self.tls_key_file,
            tls_key_password=self.tls_key_password.get_secret_value(),
        )
        return StoreAccess(files, self.sentinel_user, self.sentinel_password.get_secret_value())

    @model_validator(mode="before")
    @classmethod
    def _secrets_from_files(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        found = {name: value for name, value in values.items() if name not in cls.from_files}
        for file in values.keys() & set(cls.from_files):
            name = file.removesuffix("_file")
            if values.get(name):  # an empty one, as the shipped file has it, is none
                raise ValueError(f"give one of {name} and {file}")
            found[name] = secret_of({file: values[file]}, name)
        return found

    @field_validator("redis_url")
    @classmethod
    def _is_url(cls, url: SecretStr) -> SecretStr:
        if url.get_secret_value():
            as_value_error(check_url, url.get_secret_value())
        return url

    @model_validator(mode="after")
    def _opens(self) -> Self:
        url = self.redis_url.get_secret_value()
        # No URL is the embedded server, whose unix socket has nothing to do with TLS.
        as_value_error(self.access.check, read_url(url or "unix:///embedded"))
        return self

    @field_validator("namespace")
    @classmethod
    def _is_namespace(cls, namespace: str) -> str:
        as_value_error(check_namespace, namespace)
        return namespace
