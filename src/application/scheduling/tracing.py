"""What a trace needs to know of scheduling, so that a run can be found from the request that asked for it."""

from contextlib import AbstractContextManager, nullcontext


class SchedulingTrace:
    """Follow requests into the store; this one follows none."""

    def scheduling(self, action: str, name: str, task_id: str) -> AbstractContextManager[None]:
        """Enter what is asked for: ``schedule``, ``run_now`` or ``backfill`` of a job under an id."""
        return nullcontext()

    def traceparent(self) -> str | None:
        """Return the present place in a trace, in the W3C form; None outside of traces."""
        return None


UNTRACED = SchedulingTrace()
