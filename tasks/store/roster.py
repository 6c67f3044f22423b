"""The part of the job store that lists the workers that are there."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from dataclasses import asdict

from tasks.jobs import WorkerInfo
from tasks.records import dumps, workers_key
from tasks.store.link import Link, translated

WORKER_LIFETIME = 15  # s; a worker announces itself three times in this


class Roster(Link):
    """The workers of each queue."""

    def announce(self, info: WorkerInfo, queues: Iterable[str], now: float) -> None:
        """Record that a worker serves these queues, for `WORKER_LIFETIME` seconds."""
        entry = dumps({**asdict(info), "until": now + WORKER_LIFETIME})
        with translated():
            for queue in queues:
                self._redis.hset(workers_key(queue), info.name, entry)

    def retire(self, info: WorkerInfo, queues: Iterable[str]) -> None:
        """Record that a worker is gone."""
        with translated():
            for queue in queues:
                self._redis.hdel(workers_key(queue), info.name)

    def workers(self, queue: str, now: float | None = None) -> list[WorkerInfo]:
        """List the workers of `queue` that are there, by name; forget those long gone."""
        now = time.time() if now is None else now
        with translated():
            entries = self._redis.hgetall(workers_key(queue))
            infos = []
            for name, text in sorted(entries.items()):
                entry = json.loads(text)
                if entry.pop("until") < now:
                    self._redis.hdel(workers_key(queue), name)
                else:
                    infos.append(WorkerInfo(**entry))
        return infos
