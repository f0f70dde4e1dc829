"""Sign what a webhook sends, as Standard Webhooks has it: HMAC-SHA256 over id, time and body."""

import base64
import binascii
import hashlib
import hmac

PREFIX = "whsec_"
"""Begins a secret that is written in base64, as many receivers give it out."""
SHORTEST = 24
"""Bytes: what is shorter can be guessed by whoever has seen one message."""


def key_of(secret: str) -> bytes:
    """Return the key that a secret stands for; raises ``ValueError``, which does not show it."""
    key = secret.encode()
    if secret.startswith(PREFIX):
        try:
            key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
        except binascii.Error:
            raise ValueError(f"what follows {PREFIX} must be base64") from None
    if len(key) < SHORTEST:
        raise ValueError(f"must have {SHORTEST} bytes or more; make one with: openssl rand -hex 32")
    return key


def signature(key: bytes, message_id: str, timestamp: int, body: bytes) -> str:
    """Return the value of ``webhook-signature``."""
    signed = b".".join([message_id.encode(), str(timestamp).encode(), body])
    return f"v1,{base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()}"
