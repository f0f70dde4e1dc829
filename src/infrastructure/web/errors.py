"""What can be wrong with a request before it reaches a feature."""

from domain.errors import RoundsmanError


class MalformedJson(RoundsmanError):
    """The body is not JSON that can be taken: {why}. Mend it there, and send it again."""


class UnsupportedMediaType(RoundsmanError):
    """The body is of type '{found}'. Send JSON, with the header 'Content-Type: application/json'."""

    status = 415


class BodyTooLarge(RoundsmanError):
    """The body has more than {limit} bytes, which is the most. Send less, or a reference to where the rest is."""

    status = 413


class BodyTooSlow(RoundsmanError):
    """The body did not arrive within {limit_s:g} s. Send the request again."""

    status = 408


class InvalidRequest(RoundsmanError):
    """The request is not valid. {why}. Mend that, and send it again."""

    status = 422


class NoSuchPath(RoundsmanError):
    """There is nothing at {path}. The API is under {api}; {docs} describes it."""

    status = 404


class WrongMethod(RoundsmanError):
    """{method} is not possible at {path}. It takes {allowed}."""

    status = 405


class NotAuthenticated(RoundsmanError):
    """This needs an API key. Send one in the header 'Authorization: Bearer <key>'."""

    status = 401


class KeyRefused(RoundsmanError):
    """The API key is not known: {why}. Send another one in the header 'Authorization: Bearer <key>'."""

    status = 401


class RoleTooLow(RoundsmanError):
    """The key '{name}' is that of {found}, and this takes {wanted}. Use a key with that role."""

    status = 403


class NotFromThisMachine(RoundsmanError):
    """Without API keys only this machine is served, and the request comes from {client}. Set server.api_keys."""

    status = 403


class HostRefused(RoundsmanError):
    """The Host header, '{host}', is no name of this machine, so a web page may be behind the request. Use 127.0.0.1 or
    localhost, or set server.api_keys."""

    status = 403


class OriginRefused(RoundsmanError):
    """A web page of another origin, '{origin}', may not change anything here. Add it to server.allowed_origins."""

    status = 403


class InternalError(RoundsmanError):
    """The program failed to answer. Its log tells why under the id {error_id}."""

    status = 500
