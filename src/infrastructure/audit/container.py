"""The container of the audit: who writes notes, and who reads them."""

from dependency_injector import containers, providers

from application.audit.writing import AuditRetention, AuditWriter
from infrastructure.audit.log import RedisAuditLog
from infrastructure.redis.connection import RedisStore
from infrastructure.settings import AuditSettings


def retention(settings: AuditSettings) -> AuditRetention:
    """Return what the settings say about keeping."""
    return AuditRetention(settings.entries_kept, settings.kept_h * 3600)


class AuditContainer(containers.DeclarativeContainer):
    """Give ``writer`` to whatever changes things for somebody, and ``log`` to the routes."""

    settings = providers.Dependency(instance_of=AuditSettings)
    store = providers.Dependency(instance_of=RedisStore)
    instance_id = providers.Dependency(instance_of=str)

    kept = providers.Singleton(retention, settings)
    writer = providers.Singleton(AuditWriter, instance_id, kept, settings.provided.hidden_fields)
    log = providers.Singleton(RedisAuditLog, store, kept.provided.kept_s)
