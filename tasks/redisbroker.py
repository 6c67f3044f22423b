"""Redis as a broker that loses no message: kombu's transport, with one step where it takes two.

kombu pops a message off its list, and then writes down that it is not acked yet. If Redis or the worker dies
between the two, the message is nowhere. Here one script does both. A script cannot wait, so consumers wait
for tokens, of which publishers add one for each message; a lost token costs a second, not a message.
"""

from __future__ import annotations

import time
import uuid
from queue import Empty
from typing import Any

from kombu.transport import TRANSPORT_ALIASES, _transport_cache, redis, virtual
from kombu.utils.json import dumps, loads

TOKENS = 100  # that are kept for a queue; more consumers than this look once a second
TOKEN_LIFETIME = 10  # s

PUT = """
redis.call('LPUSH', KEYS[1], ARGV[1])
if redis.call('LPUSH', KEYS[2], 1) > tonumber(ARGV[2]) then redis.call('LPOP', KEYS[2]) end
redis.call('EXPIRE', KEYS[2], ARGV[3])
"""
"""queue, its tokens; message, most tokens, lifetime of tokens in s."""

TAKE = """
for n = 1, #KEYS - 2 do
  local message = redis.call('RPOP', KEYS[n])
  if message then
    local entry = '[' .. message .. ',"",' .. cjson.encode(KEYS[n]) .. ']'
    redis.call('HSET', KEYS[#KEYS - 1], ARGV[1], entry)
    redis.call('ZADD', KEYS[#KEYS], ARGV[2], ARGV[1])
    redis.call('RPOP', 'token:' .. KEYS[n])
    return {KEYS[n], message}
  end
end
return false
"""
"""queues, what is not acked, its index; tag, time -> queue and message, now under that tag; or nothing."""


def register() -> None:
    """Let kombu use this transport for redis:// URLs."""
    for scheme in ("redis", "rediss"):
        TRANSPORT_ALIASES[scheme] = "tasks.redisbroker:Transport"
        _transport_cache.pop(scheme, None)  # it may have been asked for before


class QoS(redis.QoS):
    """Knows that what TAKE gave is written down already."""

    def append(self, message: Any, delivery_tag: str) -> None:
        """Take note of a message that is not acked."""
        if delivery_tag == self.channel.taken:
            virtual.QoS.append(self, message, delivery_tag)
        else:
            super().append(message, delivery_tag)


class Channel(redis.Channel):
    """Takes messages by TAKE, and waits for tokens when there are none."""

    QoS = QoS
    taken: str | None = None  # tag that TAKE was given
    _in_poll: Any
    _brpop_sent_at: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._not_acking: set[str] = set()
        self._asked = "BRPOP"
        self._empty = False

    def basic_consume(self, queue: str, no_ack: bool, callback: Any, consumer_tag: str, **kwargs: Any) -> Any:
        """Consume; what is never acked is popped as kombu does."""
        if no_ack:
            self._not_acking.add(consumer_tag)
        return super().basic_consume(queue, no_ack, callback, consumer_tag, **kwargs)

    def basic_cancel(self, consumer_tag: str) -> Any:
        """Consume no more."""
        self._not_acking.discard(consumer_tag)
        return super().basic_cancel(consumer_tag)

    def _put(self, queue: str, message: Any, **kwargs: Any) -> None:
        if queue in self._expires:  # an answer to remote control: nobody acks it
            super()._put(queue, message, **kwargs)
            return
        command = (PUT, 2, queue, f"token:{queue}", dumps(message), TOKENS, TOKEN_LIFETIME)
        if batch := kwargs.get("_publish_batch"):
            batch.add("eval", *command)
            return
        with self.conn_or_acquire() as client:
            client.eval(*command)

    def _brpop_start(self, timeout: float | None = None) -> None:
        """Send the next command; `_brpop_read` is called when its answer is there."""
        queues = self._queue_cycle.consume(len(self.active_queues))
        self._asked = "BRPOP" if self._not_acking or not queues else "TOKEN" if self._empty else "TAKE"
        if self._asked == "BRPOP":
            super()._brpop_start(timeout)
            return
        self._in_poll = self.client.connection
        self._brpop_sent_at = time.monotonic()
        if self._asked == "TOKEN":
            tokens = [f"token:{queue}" for queue in queues]
            self.client.connection.send_command("BRPOP", *tokens, timeout or self.brpop_timeout)
        else:
            self.taken = str(uuid.uuid4())
            keys = [*queues, self.unacked_key, self.unacked_index_key]
            self.client.connection.send_command("EVAL", TAKE, len(keys), *keys, self.taken, time.time())

    def _brpop_read(self, **options: Any) -> Any:
        """Read the answer and deliver the message, if it is one.

        Raises:
            Empty: it is none.
        """
        if self._asked == "BRPOP":
            return super()._brpop_read(**options)
        try:
            answer = self.client.parse_response(self.client.connection, "EVAL", **options)
        except self.connection_errors:
            self.client.connection.disconnect()  # so that the next command connects again
            raise
        finally:
            self._in_poll = None
        self._empty = self._asked == "TAKE" and not answer
        if self._asked == "TOKEN" or not answer:
            raise Empty
        queue, message = answer[0].decode(), loads(answer[1].decode())
        message["properties"]["delivery_tag"] = self.taken
        self._queue_cycle.rotate(queue)
        self.connection._deliver(message, queue)
        return True


class Transport(redis.Transport):
    """kombu's transport for Redis, on this module's channel."""

    Channel = Channel
