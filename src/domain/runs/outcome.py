"""What an attempt ends with, as values."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Succeeded:
    """The body returned ``result``, a JSON text."""

    result: str = "null"


@dataclass(frozen=True, slots=True)
class Retry:
    """The attempt failed and is tried again in ``delay_s`` seconds."""

    error: str
    delay_s: float


@dataclass(frozen=True, slots=True)
class Failed:
    """The run failed for good."""

    error: str
    unloadable: bool = False
    """Its payload does not load: the one-shot, or the schedule of the fire, is parked."""


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The body was cancelled."""

    why: str


@dataclass(frozen=True, slots=True)
class Terminated:
    """The body raised ``JobTerminationException``: its schedule leaves the store."""

    why: str


@dataclass(frozen=True, slots=True)
class Released:
    """The run goes back to the queue; ``started`` tells whether its body had begun."""

    started: bool
    why: str = "its instance stops"


@dataclass(frozen=True, slots=True)
class Lost:
    """The claim is no longer ours; nothing may be settled."""

    why: str


Outcome = Succeeded | Retry | Failed | Cancelled | Terminated | Released | Lost
