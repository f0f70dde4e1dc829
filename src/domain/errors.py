"""Errors that every feature may raise."""


class StoreUnavailable(Exception):
    """The store did not answer: {why}. Nothing was acknowledged; try again when health shows it back."""

    def __init__(self, why: str) -> None:
        super().__init__(f"the store did not answer: {why}")
        self.why = why
