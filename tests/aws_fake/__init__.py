"""A strict stand-in for EC2, CloudWatch and STS: it enforces the limits that AWS has and moto does not.

``AwsFake`` serves HTTP on loopback, in a test's own event loop or as a process (``python -m aws_fake --port 4566``).
What it has is plain Python (``fleet.py``); a JSON endpoint, ``/fake/…``, sets it from outside.
"""

from aws_fake.fleet import FakeInstance, Fault, Fleet
from aws_fake.server import AwsFake

__all__ = ["AwsFake", "FakeInstance", "Fault", "Fleet"]
