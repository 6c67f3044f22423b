"""The keys of the database in the memory of one API process: no request waits for SQL.

A background thread looks every `REFRESH` seconds whether a key has changed, and reads all of them if so.
It also writes, all at once, when keys were used last. Only a key that nobody knows makes its request wait
for a look at the database. While the database is silent, known keys go on for `TRUSTED` seconds; an unknown
one, and after that time every one, is neither accepted nor refused: `DatabaseUnavailable`.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tasks.accounts.clients import Client
from tasks.accounts.keys import KeyRecord, KeyStore
from tasks.accounts.secret import id_of_key, is_id, matches
from tasks.errors import DatabaseUnavailable

logger = logging.getLogger(__name__)

REFRESH = 2.0  # s; so long a revoked key may still be accepted
TRUSTED = 300.0  # s
RELOAD = (
    60.0  # s; so often all keys are read, whatever the number of changes says: a backup may have come back
)
FLUSH = 10.0  # s; so often it is written when keys were used
REST = 1.0  # s; so long nobody asks a database that has just failed
LOOK = 5.0  # s; longest wait of a request for a look at the database


@dataclass(frozen=True, slots=True)
class _Known:
    """What was read last, and when (seconds of a monotonic clock)."""

    records: Mapping[str, KeyRecord] = field(default_factory=dict)
    changes: int = -1
    loaded: float = float("-inf")
    confirmed: float = float("-inf")


class KeyCache:
    """Tells which client a key of the database stands for."""

    def __init__(
        self,
        keys: KeyStore,
        refresh: float = REFRESH,
        flush: float = FLUSH,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._keys = keys
        self._refresh_interval = refresh
        self._flush_interval = flush
        self._clock = clock
        self._known = _Known()
        self._failed = float("-inf")
        self._silent = False
        self._used: dict[str, float] = {}
        self._looking = threading.Lock()
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closed = threading.Event()

    def find(self, key: str, now: float | None = None) -> Client | None:
        """Give the client that `key` stands for; None if it is not valid.

        Args:
            key: what a client presented.
            now: seconds since 1970; default: the time.

        Raises:
            DatabaseUnavailable: nobody can tell at the moment.
        """
        key_id = id_of_key(key)
        record = self._record(key_id) if key_id else None
        return self._client(record, now) if record and matches(key, record.digest) else None

    def get(self, key_id: str, now: float | None = None) -> Client | None:
        """Give the client of the key with this id; None if it is not valid (any more).

        Raises:
            DatabaseUnavailable: nobody can tell at the moment.
        """
        record = self._record(key_id) if is_id(key_id) else None
        return self._client(record, now) if record else None

    def close(self) -> None:
        """Write what is to be written, end the thread and close the database."""
        self._closed.set()
        if self._thread is not None:
            self._thread.join()
        self._keys.close()

    def _client(self, record: KeyRecord, now: float | None) -> Client | None:
        now = time.time() if now is None else now
        if record.state(now) != "active":
            return None
        self._used[record.id] = now
        return record.client

    def _record(self, key_id: str) -> KeyRecord | None:
        self._ensure_running()
        asked = self._clock()
        known = self._known
        if key_id not in known.records or asked - known.confirmed > TRUSTED:
            known = self._look(asked)
        return known.records.get(key_id)

    def _look(self, since: float) -> _Known:
        """Give what the database said after `since`; asked by one thread for all that wait.

        Raises:
            DatabaseUnavailable: it does not answer.
        """
        if not self._looking.acquire(timeout=LOOK):
            raise DatabaseUnavailable(f"the database has not answered for {LOOK:.0f} s")
        try:
            begin = self._clock()
            if self._known.confirmed > since:
                return self._known
            if begin - self._failed < REST:
                raise DatabaseUnavailable("the database did not answer a moment ago")
            try:
                self._known = self._read(begin)
            except DatabaseUnavailable:
                self._failed = self._clock()
                raise
            return self._known
        finally:
            self._looking.release()

    def _read(self, begin: float) -> _Known:
        known = self._known
        if begin - known.loaded < RELOAD and self._keys.changes() == known.changes:
            return _Known(known.records, known.changes, known.loaded, begin)
        changes, records = self._keys.snapshot()
        return _Known(records, changes, begin, begin)

    def _ensure_running(self) -> None:
        if self._thread is not None:
            return
        with self._starting:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="keys", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        flush = self._clock() + self._flush_interval
        while not self._closed.wait(self._refresh_interval):
            self._refresh()
            if self._clock() >= flush:
                flush = self._clock() + self._flush_interval
                self._flush()
        self._flush()

    def _refresh(self) -> None:
        try:
            self._look(self._clock())
        except DatabaseUnavailable as error:
            if not self._silent:  # once for each outage
                logger.error("the keys of the database cannot be read: %s", error)
            self._silent = True
        except Exception:  # whatever it was, no revoked key may stay valid because this thread has ended
            logger.exception("the keys of the database cannot be read")
        else:
            self._silent = False

    def _flush(self) -> None:
        used, self._used = self._used, {}
        try:
            self._keys.touch(used)
        except DatabaseUnavailable as error:  # also where another process is writing: the next time will do
            self._used = used | self._used
            logger.debug("not recorded when keys were used: %s", error)
        except Exception:
            logger.exception("not recorded when keys were used")
