"""Secrets and signatures of webhooks, as https://www.standardwebhooks.com has them. Pure.

A client's secret is not kept: it is made of the secret of the installation, the client's id and the number of
its rotations, whenever it is needed.
"""

from __future__ import annotations

import hmac
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass

MARK = "whsec_"


@dataclass(frozen=True, slots=True)
class Rotation:
    """Which of a client's secrets counts.

    Attributes:
        number: how often it was rotated.
        overlap_until: until when the secret before counts as well, in seconds since 1970; None: it does not.
    """

    number: int = 0
    overlap_until: float | None = None

    def numbers(self, now: float) -> tuple[int, ...]:
        """Give the numbers of the secrets that count now, the newest first."""
        overlaps = self.number > 0 and self.overlap_until is not None and now < self.overlap_until
        return (self.number, self.number - 1) if overlaps else (self.number,)


def secret_of(installation: str, client: str, number: int) -> bytes:
    """Give a client's secret.

    Args:
        installation: secret of the installation.
        client: the client's id.
        number: of its rotations.
    """
    return hmac.digest(installation.encode(), f"webhook\n{number}\n{client}".encode(), "sha256")


def shown(secret: bytes) -> str:
    """Give a secret as the client's libraries take it."""
    return MARK + b64encode(secret).decode()


def signed(message_id: str, timestamp: int, body: bytes, secrets: Sequence[bytes]) -> dict[str, str]:
    """Give the headers of a message.

    Args:
        message_id: the same whenever this message is sent.
        timestamp: when it is sent now, in seconds since 1970.
        body: what is sent.
        secrets: each of them signs.
    """
    content = f"{message_id}.{timestamp}.".encode() + body
    signatures = [b64encode(hmac.digest(secret, content, "sha256")) for secret in secrets]
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(f"v1,{signature.decode()}" for signature in signatures),
    }
