"""What opens the store beside its URL."""

from dataclasses import dataclass, field

from infrastructure.redis.errors import InvalidStoreAccess
from infrastructure.redis.tls import NO_FILES, Tls, TlsFiles
from infrastructure.redis.url import StoreUrl


@dataclass(frozen=True)
class StoreAccess:
    """Files for TLS, and what the Sentinels want to hear: they have users and passwords of their own."""

    files: TlsFiles = NO_FILES
    sentinel_user: str = ""
    sentinel_password: str = field(default="", repr=False)

    def check(self, url: StoreUrl) -> Tls | None:
        """Return how connections are encrypted, None where they are not; raise ``InvalidStoreAccess``."""
        if not url.primary_name and (self.sentinel_user or self.sentinel_password):
            name = "sentinel_password" if self.sentinel_password else "sentinel_user"
            why = "there are no Sentinels; store.redis_url would begin with redis+sentinel://"
            raise InvalidStoreAccess(name=name, why=why)
        if self.sentinel_user and not self.sentinel_password:
            raise InvalidStoreAccess(name="sentinel_user", why="a user has a password; set sentinel_password too")
        return Tls.of(url, self.files)


NO_ACCESS = StoreAccess()
