"""The part of the job store that knows clients: what they have used today, and their sessions."""

from __future__ import annotations

import json
from typing import Any

from tasks.records import SESSION_LIFETIME, day_key, session_key
from tasks.room import DayLimits
from tasks.store.link import Link, translated


class Clients(Link):
    """What is kept of clients, besides their jobs."""

    def used_today(self, owner: str, endpoint: str) -> DayLimits:
        """Give what a client whose use is limited has used of an endpoint today, in whole seconds."""
        with translated():
            key = f"{day_key(owner, endpoint)}{int(self._redis.time()[0] // 86400)}"
            used = self._redis.hmget(key, "bytes", "seconds")
        return DayLimits(*(int(float(number or 0)) for number in used))

    def session_vars(self, session: str, endpoint: str) -> dict[str, Any]:
        """Give the stored session variables of one client session at one endpoint.

        Only a client that kept its cookie has any: from now on they are kept as long as it may come back.
        """
        key = session_key(session, endpoint)
        with translated():
            stored, _ = (
                self._redis.pipeline(transaction=False).hgetall(key).expire(key, SESSION_LIFETIME).execute()
            )
        return {name: json.loads(value) for name, value in stored.items()}
