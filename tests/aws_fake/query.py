"""The query protocol: forms in, XML out, errors with a code."""


class Refusal(Exception):
    """An error that AWS would answer."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status


def numbered(form: dict[str, str], prefix: str) -> list[str]:
    """Return the values of ``prefix.1``, ``prefix.2``, …"""
    found = []
    number = 1
    while (value := form.get(f"{prefix}.{number}")) is not None:
        found.append(value)
        number += 1
    return found
