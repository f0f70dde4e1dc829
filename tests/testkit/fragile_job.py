"""A job whose data was valid when it was scheduled, and is not any more when it is loaded."""

from typing import Annotated

from pydantic import AfterValidator

from application.scheduling import RecurrentBackgroundJob, backgroundjob

BROKEN: set[str] = set()


def _known(label: str) -> str:
    if label in BROKEN:
        raise ValueError("nobody knows it any more")
    return label


@backgroundjob(task_type="recurrent")
class Fragile(RecurrentBackgroundJob):
    label: Annotated[str, AfterValidator(_known)]

    def run_every(self) -> None: ...
