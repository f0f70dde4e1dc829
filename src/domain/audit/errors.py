"""What can be asked wrongly of the audit."""

from domain.errors import RoundsmanError


class InvalidAuditCursor(RoundsmanError):
    """The cursor '{cursor}' is not one of the audit. Send the next_cursor of the page before, unchanged, or none to
    begin with the newest entries."""

    status = 422


class InvalidAuditAction(RoundsmanError):
    """The action '{action}' is no action of the audit, and no pattern of one. Write one such as 'schedule.paused', or
    'schedule.*' for all that begin so."""

    status = 422
