"""What is to be told to clients' servers, in the job store.

    key                          type    what                                      lifetime
    webhook:<message>            hash    what happened, to whom it is told, how that went   4 days; 1 day
                                                                           after it arrived
    webhooks:bytes               hash    sizes of results in messages, and of all  4 days after the last
    webhooks:waiting:<client>    zset    those that wait to be sent, by since when  4 days after the last
    webhooks:ended:<client>:<state>  zset  its messages that ended so, by when     4 days after the last
    webhooks:all                 zset    messages by the time of their event       4 days after the last
    webhooks:due                 zset    those to be sent, by when                 -
    webhooks:deadlines           zset    jobs with a webhook by their deadlines    -
    webhooks:gone:<client>:<url> string  "1": the server wants no more             a week

A message is written by the script that changes its job (`tell` in `tasks/scripts/parts.py`), so that none is
lost between the two. It stays in `webhooks:due` until it has arrived or is given up: whoever takes it up
moves it into the future, and if he dies it is due again.

A message has a copy of the result until it has arrived or is given up, as long as there is room for it. One
without a copy is sent with the result of its job, if that is still there.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from tasks.jobs import Job
from tasks.records import flat
from tasks.scripts.parts import LARGEST_TOLD, MESSAGES_LIFETIME, SETTLE, UNCOUNT
from tasks.store import JobStore
from tasks.webhooks.hook import Webhook

HANDED_OUT = 120  # s; so long after it was handed to a queue a message is due again
BEING_SENT = 30  # s; the same after an attempt has begun: twice as long as one may take
GONE = 7 * 86_400  # s
DELIVERED_LIFETIME = 86_400  # s; so long a message is remembered that has arrived
SWEEP = 1000  # messages looked at at once

PENDING, DELIVERED, FAILED, UNWANTED = "pending", "delivered", "failed", "gone"
STATES = (PENDING, DELIVERED, FAILED, UNWANTED)

_TAKE = (
    UNCOUNT
    + """
local now = redis.call('TIME')[1]
local found = {}
for _, name in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, ARGV[1])) do
  local attempts = redis.call('HGET', 'webhook:' .. name, 'attempts')
  if attempts then
    redis.call('ZADD', KEYS[1], now + ARGV[2], name)
    found[#found + 1] = {name, attempts}
  else
    redis.call('ZREM', KEYS[1], name)
    uncount(KEYS[2], name)
  end
end
return found
"""
)
"""due, bytes; most messages, seconds until they are due again -> {message, attempts}..."""

_BEGIN = f"""
local message = redis.call('HMGET', KEYS[1], 'delivery', 'attempts', 'result')
if message[1] == 'pending' and message[2] == ARGV[2] then
  redis.call('HINCRBY', KEYS[1], 'attempts', 1)
  redis.call('ZADD', KEYS[2], redis.call('TIME')[1] + ARGV[3], ARGV[1])
  local fields = redis.call('HGETALL', KEYS[1])
  if message[3] and message[3] ~= '' then return fields end
  local id, revision = string.match(ARGV[1], '^(.*)_(%d+)$')
  local job = redis.call('HMGET', 'job:' .. id, 'revision', 'result')
  if job[1] == revision and job[2] and #job[2] <= {LARGEST_TOLD} then
    fields[#fields + 1] = 'result'
    fields[#fields + 1] = job[2]
  end
  return fields
end
return {{}}
"""
"""message, due; its name, attempts made, seconds until it is due again -> its fields, with the result of
its job if it has no copy and the job has not changed since; none if it is not to be sent: it has arrived, or
somebody else sends it."""

_END = (
    SETTLE
    + """
local was = redis.call('HMGET', KEYS[1], 'delivery', 'owner')
if not was[1] then return 0 end
redis.call('ZREM', 'webhooks:ended:' .. was[2] .. ':' .. was[1], ARGV[1])
redis.call('HSET', KEYS[1], unpack(ARGV, 4))
redis.call('EXPIRE', KEYS[1], ARGV[3])
if ARGV[2] == '' then
  settle(ARGV[1], was[2], redis.call('HGET', KEYS[1], 'delivery'))
else
  redis.call('ZADD', KEYS[2], redis.call('TIME')[1] + ARGV[2], ARGV[1])
  waits(ARGV[1], was[2])
end
return 1
"""
)
"""message, due; its name, seconds until it is due or '' if it is not any more, lifetime, fields... -> 1, or 0
if it is forgotten."""

_LIST = """
local found = {}
for _, name in ipairs(ARGV) do
  local fields = redis.call('HMGET', 'webhook:' .. name, 'hook', 'owner', 'endpoint', 'event', 'delivery',
    'attempts', 'status', 'error', 'created')
  if fields[1] then found[#found + 1] = {name, redis.call('ZSCORE', KEYS[1], name) or '', unpack(fields)} end
end
return found
"""
"""due; names -> {message, when it is due, fields...}..., less those that are forgotten."""

_ALL, _DUE, _BYTES, _DEADLINES = "webhooks:all", "webhooks:due", "webhooks:bytes", "webhooks:deadlines"


@dataclass(frozen=True, slots=True)
class Delivery:
    """How it stands with a message. Times are in seconds since 1970.

    Attributes:
        id: of the message; begins with its job's.
        hook: to whom it is told.
        owner: the client whose job it is about.
        endpoint: name of the job's endpoint.
        event: what happened.
        state: of `STATES`.
        attempts: that have begun.
        status: HTTP status of the last answer; None: there was none.
        error: why the last attempt did not succeed; None: it did, or there was none.
        created: when it happened.
        due: when it is sent next; None: never.
    """

    id: str
    hook: Webhook
    owner: str
    endpoint: str
    event: str
    state: str
    attempts: int
    status: int | None
    error: str | None
    created: float
    due: float | None


class Outbox:
    """The messages of an installation.

    Every method raises `StoreUnavailable` if the store does not answer.
    """

    def __init__(self, store: JobStore) -> None:
        self._store = store

    # -- for the API

    def watch(self, job: Job) -> None:
        """Remember the deadline of a job with a webhook: it must be noticed when nobody asks for the job."""
        self._store.command("ZADD", _DEADLINES, job.deadline, job.id)

    # -- for those who send

    def take(self, most: int) -> list[tuple[str, int]]:
        """Give messages that are due, and how many attempts each has had; then they are not, for a while."""
        if most <= 0:
            return []
        found = self._store.run([(_TAKE, [_DUE, _BYTES], [most, HANDED_OUT])])[0]
        return [(name, int(attempts)) for name, attempts in found]

    def give_back(self, name: str) -> None:
        """Let a message that was taken be due at once."""
        self._store.command("ZADD", _DUE, "XX", 0, name)

    def begin(self, name: str, attempts: int) -> dict[str, str]:
        """Begin an attempt; gives all that is known of the message, or nothing if it is not to be sent."""
        found = self._store.run([(_BEGIN, [_key(name), _DUE], [name, attempts, BEING_SENT])])[0]
        return dict(zip(found[::2], found[1::2], strict=True))

    def end(
        self,
        name: str,
        state: str,
        *,
        due: float | None = None,
        status: int | None = None,
        error: str | None = None,
        **more: Any,
    ) -> None:
        """Record how an attempt went; `due`: seconds until the next one."""
        fields = {"delivery": state, "status": status or "", "error": error or "", **more}
        again = "" if due is None else round(due, 3)
        lifetime = DELIVERED_LIFETIME if state == DELIVERED else MESSAGES_LIFETIME
        self._store.run([(_END, [_key(name), _DUE], [name, again, lifetime, *flat(fields)])])

    def is_gone(self, owner: str, url: str) -> bool:
        """Tell whether this server has said that it wants no more messages about this client's jobs."""
        return bool(self._store.command("EXISTS", _gone_key(owner, url)))

    def set_gone(self, owner: str, url: str) -> None:
        """Send this server no more messages about this client's jobs."""
        self._store.command("SET", _gone_key(owner, url), "1", "EX", GONE)

    def lapse_late(self) -> None:
        """Let jobs with a webhook lapse whose deadline has passed."""
        now = time.time()
        late = self._store.command("ZRANGEBYSCORE", _DEADLINES, "-inf", now, "LIMIT", 0, SWEEP)
        if late:
            self._store.get_many(late, now)  # which ends those that still wait
            self._store.command("ZREM", _DEADLINES, *late)

    def sweep(self) -> None:
        """Forget the names of messages that are forgotten."""
        self._store.command("ZREMRANGEBYSCORE", _ALL, "-inf", time.time() - MESSAGES_LIFETIME)

    # -- for those who look

    def newest(self) -> Iterator[Delivery]:
        """Give all messages, the newest first."""
        for start in itertools.count(step=SWEEP):
            names = self._store.command("ZREVRANGE", _ALL, start, start + SWEEP - 1)
            if not names:
                return
            yield from self.find(names)

    def find(self, names: Sequence[str]) -> list[Delivery]:
        """Give these messages, less those that are forgotten."""
        return [_delivery(row) for row in self._store.run([(_LIST, [_DUE], list(names))])[0]]

    def of_job(self, job_id: str) -> list[Delivery]:
        """Give the messages about a job, oldest first."""
        return self.find((self._store.command("HGET", f"job:{job_id}", "webhooks") or "").split())

    def redeliver(self, delivery: Delivery) -> None:
        """Send a message anew, with all its attempts, also to a server that wanted no more."""
        self._store.command("DEL", _gone_key(delivery.owner, delivery.hook.url))
        self.end(delivery.id, PENDING, due=0, attempts=0)


def job_of(name: str) -> str:
    """Give the job that a message is about."""
    return name.rpartition("_")[0]


def _key(name: str) -> str:
    return f"webhook:{name}"


def _gone_key(owner: str, url: str) -> str:
    return f"webhooks:gone:{owner}:{sha256(url.encode()).hexdigest()}"


def _delivery(row: Sequence[str]) -> Delivery:
    name, due, hook, owner, endpoint, event, state, attempts, status, error, created = row
    return Delivery(
        id=name,
        hook=Webhook.from_text(hook),
        owner=owner,
        endpoint=endpoint,
        event=event,
        state=state,
        attempts=int(attempts),
        status=int(status) if status else None,
        error=error or None,
        created=float(created),
        due=float(due) if due else None,
    )
