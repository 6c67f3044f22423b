"""Requests that may be sent twice and shall be done once: a key of the client's choice stands for one job."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from hashlib import sha256

from tasks.errors import IdempotencyKeyReused, RequestInProgress
from tasks.jobs import JobState
from tasks.store import JobStore

LIFETIME = 86_400  # s; so long a key stands for its job
PENDING = 60  # s; the same until the job is accepted: its API process may die before
PATIENCE = 5.0  # s; so long a twin waits until the job of the first request is accepted
POLL = 0.05  # s

_HOLD = """
local held = redis.call('GET', KEYS[1])
if held and held ~= ARGV[3] then return held end
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
return ''
"""
"""name; text, lifetime, text that may be replaced (default: none) -> the text that stays, else empty."""

_LET_GO = """
local held = redis.call('GET', KEYS[1])
if held == ARGV[1] or held == ARGV[2] then redis.call('DEL', KEYS[1]) end
return 1
"""
"""name; two texts -> 1. It is forgotten if it still has one of these."""


@dataclass(frozen=True, slots=True)
class Claim:
    """What an idempotency key stands for.

    Attributes:
        key: its name in the store.
        fingerprint: of the request that it came with.
        job_id: the job of that request.
        pending: whether the job is not known to be accepted yet.
    """

    key: str
    fingerprint: str
    job_id: str
    pending: bool = True

    def to_text(self) -> str:
        """Give the form in which it is stored."""
        return f"{self.fingerprint} {self.job_id} {'pending' if self.pending else 'accepted'}"

    @classmethod
    def from_text(cls, key: str, text: str) -> Claim:
        """Read `to_text()`."""
        fingerprint, job_id, state = text.split(" ")
        return cls(key, fingerprint, job_id, state == "pending")


class IdempotencyKeys:
    """The keys of all clients, in the job store.

    Every method raises `StoreUnavailable` if the store does not answer.
    """

    def __init__(self, store: JobStore) -> None:
        self._store = store

    def claim(
        self,
        owner: str,
        key: str,
        fingerprint: str,
        job_id: str,
        sleep: Callable[[float], None] = time.sleep,
    ) -> Claim:
        """Let a key stand for a job, unless it stands for one already.

        Args:
            owner: id of the API key; two clients may use the same idempotency key.
            key: the idempotency key.
            fingerprint: of the request, without blanks; another request may not use this key.
            job_id: the job that the request shall become.
            sleep: waits.

        Returns:
            A pending claim with this `job_id`: the job is to be submitted, then call `accepted`, or `release`
            if that fails. Otherwise the job that the key stands for.

        Raises:
            IdempotencyKeyReused: it came with another request before.
            RequestInProgress: whether the job of the same request will be accepted is still open.
        """
        wanted = Claim(f"idempotency:{owner}:{sha256(key.encode()).hexdigest()}", fingerprint, job_id)
        for _ in range(round(PATIENCE / POLL)):
            held = self._store.run([(_HOLD, [wanted.key], [wanted.to_text(), PENDING])])[0]
            found = Claim.from_text(wanted.key, held) if held else wanted
            if found.fingerprint != fingerprint:
                raise IdempotencyKeyReused
            if found == wanted or not found.pending:  # it is there, too, where an answer was lost
                return found
            sleep(POLL)
        status = self._store.get(found.job_id)
        if status is None or status.state is JobState.CANCELED:  # not recorded yet, or withdrawn
            raise RequestInProgress
        return self.accepted(found)  # its process died after it had recorded the job

    def accepted(self, claim: Claim) -> Claim:
        """Keep a claim: its job has been accepted."""
        kept = replace(claim, pending=False)
        self._store.run([(_HOLD, [claim.key], [kept.to_text(), LIFETIME, claim.to_text()])])
        return kept

    def release(self, claim: Claim) -> None:
        """Give a claim back: its job was not accepted, the key may be used again.

        A twin that had waited long enough may have taken it for accepted.
        """
        texts = [replace(claim, pending=pending).to_text() for pending in (True, False)]
        self._store.run([(_LET_GO, [claim.key], texts)])
