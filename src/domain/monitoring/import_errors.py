"""What can be wrong with an import of workers."""

from domain.errors import RoundsmanError


class InvalidImport(RoundsmanError):
    """The workers cannot be imported: {why}. Mend that, and ask again."""

    status = 422


class ImportNotSupported(RoundsmanError):
    """The provider '{provider}' does not list its workers, so that none can be imported. Register them one by one."""

    status = 422


class ProviderFailed(RoundsmanError):
    """The provider '{provider}' did not answer as it was asked to: {why}. What was imported so far stays; asking again
    goes on."""

    status = 502
