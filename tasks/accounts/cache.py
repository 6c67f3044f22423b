"""The keys of the database in the memory of one API process: no request waits for SQL.

One thread speaks to the database. Every `REFRESH` seconds it looks whether a key has changed, and reads all
of them if so; it also writes, all at once, when keys were used. Only a request with a key that nobody knows
waits, for the next look and not for long. While the database is silent, known keys go on for `TRUSTED`
seconds; an unknown one, and after that time any, is neither accepted nor refused: `DatabaseUnavailable`.
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
RELOAD = 60.0  # s; so often all keys are read, whatever their number of changes: a backup may have come back
FLUSH = 5.0  # s; so often it is written when keys were used
WAIT = 2.0  # s; longest wait of a request
PAUSE = 0.05  # s between two looks, however many unknown keys are tried
REST = 1.0  # s; so long no request makes us ask a database that has just failed

_NEVER = float("-inf")


@dataclass(frozen=True, slots=True)
class _Known:
    """What was read last, and when (seconds of a monotonic clock)."""

    records: Mapping[str, KeyRecord] = field(default_factory=dict)
    changes: int = -1
    loaded: float = _NEVER
    confirmed: float = _NEVER


class KeyCache:
    """Tells which client a key of the database stands for."""

    def __init__(
        self,
        keys: KeyStore,
        refresh: float = REFRESH,
        flush: float = FLUSH,
        wait: float = WAIT,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._keys = keys
        self._refresh_interval = refresh
        self._flush_interval = flush
        self._wait = wait
        self._clock = clock
        self._known = _Known()
        self._used: dict[str, float] = {}
        # Looks are numbered: who asks waits for the end of the next one to begin.
        self._begun = self._ended = 0
        self._failure: DatabaseUnavailable | None = None  # of the last look
        self._failed = _NEVER
        self._end_of_look = threading.Condition()
        self._wanted = threading.Event()
        self._closed = threading.Event()
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None

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
        self._wanted.set()
        if self._thread is not None:
            self._thread.join()
        self._keys.close()

    # -- what the requests do

    def _client(self, record: KeyRecord, now: float | None) -> Client | None:
        now = time.time() if now is None else now
        if record.state(now) != "active":
            return None
        self._used[record.id] = now
        return record.client

    def _record(self, key_id: str) -> KeyRecord | None:
        known = self._known
        if key_id not in known.records or self._clock() - known.confirmed > TRUSTED:
            self._await_look()
            known = self._known
        return known.records.get(key_id)

    def _await_look(self) -> None:
        """Wait for a look at the database that begins after this call.

        Raises:
            DatabaseUnavailable: it fails, or takes too long.
        """
        if self._clock() - self._failed < REST:
            raise DatabaseUnavailable("the database did not answer a moment ago")
        self._ensure_running()
        with self._end_of_look:
            number = self._begun + 1
            self._wanted.set()
            if not self._end_of_look.wait_for(lambda: self._ended >= number, self._wait):
                raise DatabaseUnavailable(f"the database has not answered for {self._wait:g} s")
            if self._failure is not None:
                raise DatabaseUnavailable(str(self._failure)) from self._failure

    def _ensure_running(self) -> None:
        with self._starting:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="keys", daemon=True)
                self._thread.start()

    # -- what the thread does

    def _run(self) -> None:
        flush = self._clock() + self._flush_interval
        while not self._closed.is_set():
            self._wanted.wait(self._refresh_interval)
            self._look()
            if self._clock() >= flush:
                flush = self._clock() + self._flush_interval
                self._flush()
            self._closed.wait(PAUSE)
        self._flush()

    def _look(self) -> None:
        with self._end_of_look:
            self._wanted.clear()
            self._begun += 1
        failure = None
        try:
            self._known = self._read(self._clock())
        except DatabaseUnavailable as error:
            failure = error
            if self._failure is None:  # once for each outage
                logger.error("the keys of the database cannot be read: %s", error)
        except Exception as error:  # whatever it was, no revoked key may stay valid because this thread ended
            failure = DatabaseUnavailable(f"the keys of the database cannot be read: {error}")
            logger.exception("the keys of the database cannot be read")
        with self._end_of_look:
            self._failure = failure
            self._failed = _NEVER if failure is None else self._clock()
            self._ended = self._begun
            self._end_of_look.notify_all()

    def _read(self, begin: float) -> _Known:
        known = self._known
        if begin - known.loaded < RELOAD and self._keys.changes() == known.changes:
            return _Known(known.records, known.changes, known.loaded, begin)
        changes, records = self._keys.snapshot()
        return _Known(records, changes, begin, begin)

    def _flush(self) -> None:
        used, self._used = self._used, {}
        try:
            self._keys.touch(used)
        except DatabaseUnavailable as error:  # also where another process is writing: the next time will do
            self._used = used | self._used
            logger.debug("not recorded when keys were used: %s", error)
        except Exception:
            logger.exception("not recorded when keys were used")
