"""What can be wrong with the store: the embedded one, and the one behind a URL."""

from domain.errors import RoundsmanError


class StoreError(RoundsmanError):
    """The store cannot be used."""

    status = 503


class DataDirectoryInUse(StoreError):
    """The data directory {data_dir} is in use by process {pid}: one program at a time may own it. Stop that one, or
    give this one a directory of its own (setting data_dir, or ROUNDSMAN_DATA_DIR)."""


class DataDirectoryUnusable(StoreError):
    """The data directory {data_dir} cannot be used: {why}. It must be a directory that this user may write to;
    mend that, or choose another one (setting data_dir, or ROUNDSMAN_DATA_DIR)."""


class DataDirectoryIsFile(DataDirectoryUnusable):
    """The data directory {data_dir} cannot be made: {file} is a file. Move that away, or choose another directory
    (setting data_dir, or ROUNDSMAN_DATA_DIR)."""


class DataDiskFull(DataDirectoryUnusable):
    """The disk of the data directory {data_dir} is full ({why}), and the embedded Valkey can write nothing. Make room
    on it, or choose a directory elsewhere (setting data_dir, or ROUNDSMAN_DATA_DIR). The data there is not damaged."""


class NoServerBinary(StoreError):
    """There is no embedded Valkey for this platform ({platform}): {why}. Run a Redis 7.0 or a Valkey 7.2, or newer, and
    name it in the setting store.redis_url (ROUNDSMAN_STORE__REDIS_URL)."""


class EmbeddedServerFailed(StoreError):
    """The embedded Valkey did not start: {why}. Mend that and start again, or name a Redis of your own in the setting
    store.redis_url. Its log {log} ends with:

    {tail}"""


class DataUnreadable(StoreError):
    """The embedded Valkey cannot load its data from {file}. Restore that from a copy, or move it away to begin with an
    empty store; nothing was changed. The log {log} ends with:

    {tail}"""


class InvalidStoreUrl(StoreError):
    """The setting store.redis_url is not valid: {why}. Write redis://[user:password@]host[:port][/db], rediss://... for
    TLS, unix://[user:password@]/path[?db=0], or redis+sentinel://[user:password@]host[:port][,host...]/primary[/db];
    leave it empty for the embedded Valkey."""

    status = 422


class InvalidStoreAccess(StoreError):
    """The setting store.{name} is not valid: {why}. Mend it; docs/how-to/connect-to-redis.md says what goes
    together."""

    status = 422


class InvalidNamespace(StoreError):
    """The setting store.namespace, '{namespace}', is not valid. Use 1 to 64 letters, digits and any of _ . -"""

    status = 422


class StoreAway(StoreError):
    """The store cannot be used yet; time may mend that."""

    exit_status = 5


class StoreUnreachable(StoreAway):
    """No Redis can be reached at {address}: {why}. Start it, or mend the setting store.redis_url
    (ROUNDSMAN_STORE__REDIS_URL); without one the program brings its own."""


class StorePasswordRequired(StoreError):
    """The Redis at {address} asks for a password, and the setting store.redis_url has none.
    Write redis://:password@host or redis://user:password@host."""


class StorePasswordRefused(StoreError):
    """The Redis at {address} refuses the user or password of the setting store.redis_url: {why}. Mend them there, or
    give that Redis such a user."""


class StorePermissionDenied(StoreError):
    """The Redis at {address} denies its user what this program needs: {why}. Grant it, as an administrator there:

    {mend}"""


class StoreTooOld(StoreError):
    """The server at {address} is {server}, which is too old. Use Redis 7.0 or Valkey 7.2, or newer."""


class NotARedis(StoreError):
    """What answers at {address} is not a Redis that can be used: {why}. Mend the setting store.redis_url (a TLS port
    wants rediss://)."""


class StoreIsSentinel(StoreError):
    """What answers at {address} is a Sentinel, which knows where the Redis is and has no data itself. Write
    redis+sentinel://{address}/name in the setting store.redis_url, with the name that it gives the primary."""


class StoreWantsTls(StoreError):
    """The Redis at {address} speaks TLS, and the setting store.redis_url does not. Write rediss:// there."""


class StoreHasNoTls(StoreError):
    """What answers at {address} does not speak TLS: {why}. Name its TLS port in the setting store.redis_url, or write
    redis:// there, which sends all data and the password unencrypted."""


class StoreNotTrusted(StoreError):
    """The certificate of the Redis at {address} is not to be trusted: {why}. Nothing was sent to it. {mend}"""


class StoreRefusesCertificate(StoreError):
    """The Redis at {address} wants to know by a certificate who connects, and {why}. {mend}"""


class StoreIsCluster(StoreError):
    """The Redis at {address} runs in cluster mode, which is not supported yet. Use a server without it."""


class StoreIsReplica(StoreAway):
    """The Redis at {address} is a read-only replica. Name the primary in the setting store.redis_url; where Sentinels
    are named there, they have not yet made it one, and will by themselves."""


class NoSentinel(StoreAway):
    """None of the Sentinels of '{name}' can be used: {why}. Start them, or mend the setting store.redis_url
    (ROUNDSMAN_STORE__REDIS_URL)."""


class SentinelRefuses(StoreError):
    """The Sentinel at {address} does not answer this program: {why}. It has users and passwords of its own: set
    store.sentinel_password (and store.sentinel_user), or leave both empty if it asks for none."""


class NotASentinel(StoreError):
    """What answers at {address} is not a Sentinel: {why}. Mend the setting store.redis_url; a Redis itself is written
    redis://host:port."""


class UnknownPrimary(StoreError):
    """The Sentinel at {address} knows no primary '{name}'. It knows {known}: write that name at the end of the setting
    store.redis_url."""


class PrimaryAway(StoreAway):
    """The Sentinels say that the primary of '{name}', {address}, is down, and have not made a replica the primary yet.
    They do that by themselves when enough of them agree; if not, start it."""


class StoreLoading(StoreAway):
    """The Redis at {address} is still loading its data. Start again when it has finished."""


class StoreTakesNoMore(StoreAway):
    """The Redis at {address} takes no more connections. Raise its setting maxclients; a process of this program uses
    some 20, and 140 at the very most."""


class DiskNotConfirmed(StoreError):
    """store.durability is "disk", and the Redis at {address} cannot confirm that a write is on disk: {why}. Mend
    that, or set store.durability = "memory" (ROUNDSMAN_STORE__DURABILITY)."""
