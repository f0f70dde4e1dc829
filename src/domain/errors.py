"""The base of every error that a user of the framework or of the API may meet."""

import inspect
from typing import Any


class RoundsmanError(Exception):
    """Something was asked that cannot be done."""

    status = 400
    """The HTTP status this error answers with."""
    exit_status = 1
    """The exit status of a command that ends with it."""

    def __init__(self, **facts: Any) -> None:
        """Format the class's docstring with ``facts``: an error's docstring is its message and says how to mend it.

        Each paragraph of the docstring is one line of the message.
        """
        self.facts = facts
        paragraphs = inspect.cleandoc(self.__doc__ or "").split("\n\n")
        super().__init__("\n".join(" ".join(text.split()) for text in paragraphs).format(**facts))

    def __reduce__(self) -> tuple[Any, ...]:
        """Survive copying: the facts are keyword arguments."""
        return _rebuild, (type(self), self.facts)


def _rebuild(kind: type[RoundsmanError], facts: dict[str, Any]) -> RoundsmanError:
    return kind(**facts)


class StoreUnavailable(RoundsmanError):
    """The store did not answer: {why}. Nothing was acknowledged; it may or may not have taken effect. Try again when
    health shows the store back."""

    status = 503


class StoreFull(StoreUnavailable):
    """The store has no memory left: {why}. Nothing was changed. What runs goes on, and things can be stopped; give the
    store more memory, or remove what is not needed, and try again."""


class NotConfirmedOnDisk(StoreUnavailable):
    """It took effect in the store's memory, but the store did not confirm that it is on disk: {why}. A restart of the
    store may lose it. Ask again: nothing that has an id is made twice, and the answer comes when it is on disk."""


class StrangeKey(RoundsmanError):
    """A key in the store has this program's name and another type: {why}. Somebody else writes under the setting
    store.namespace. Health, and the log, name the key: remove it, and give each program a namespace of its own."""

    status = 503
