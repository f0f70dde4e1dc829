"""What can be wrong with channels and with questions about deliveries."""

from domain.errors import RoundsmanError


class ChannelNotFound(RoundsmanError):
    """There is no channel '{name}'; there are: {known}. Channels are tables in the settings, [[alerts.channels]]."""

    status = 404


class InvalidDeliveryCursor(RoundsmanError):
    """'{cursor}' is no cursor of a list of deliveries. Send the next_cursor of the page before, or none."""

    status = 422
