"""Fixtures for the tests of telemetry."""

from unit.telemetry.log_kit import said

__all__ = ["said"]
