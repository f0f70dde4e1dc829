"""What can be wrong with a channel when the program starts."""

from domain.errors import RoundsmanError


class InvalidChannel(RoundsmanError):
    """The channel '{name}' (alerts.channels) cannot be used: {why}. Nothing was started. Mend it in the settings, or
    take it out, and try again; 'roundsman check' looks at all channels."""

    status = 500
