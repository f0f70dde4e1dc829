"""Results of the benchmark of monitoring as Markdown."""

from typing import Any

from benchmarks.report import machine_line, table

SAMPLES = {"ec2": "EC2 with the CloudWatch agent, two file systems", "whole": "every metric there is"}


def markdown(results: dict[str, Any]) -> str:
    """Return all that was measured."""
    parts = [machine_line(results)]
    if results["day"]:
        parts += ["### A day of samples", _day(results["day"])]
    return "\n\n".join(parts) + "\n"


def _day(rows: list[dict[str, Any]]) -> str:
    head = ("sample", "samples a worker", "bytes a worker", "by used memory", "bytes an event")
    return table(
        head,
        (
            [
                SAMPLES[row["kind"]],
                f"{row['samples_each']:,.0f}",
                f"{row['bytes_each']:,.0f}",
                f"{row['held_each']:,.0f}",
                f"{row['bytes_an_event']:,.0f}",
            ]
            for row in rows
        ),
    )
