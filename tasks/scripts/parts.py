"""Functions in Lua that several scripts begin with."""

from __future__ import annotations

TERMINAL = """
local function ended(s) return s and s ~= 'queued' and s ~= 'processing' end
local function now() return tonumber(redis.call('TIME')[1]) end
"""

COUNT = """
local function count(bytes, id, size, lifetime)
  redis.call('HSET', bytes, id, size)
  redis.call('HINCRBY', bytes, 'total', size)
  redis.call('EXPIRE', bytes, lifetime)
end
"""
"""Keeps the size of something, and of all such things, in one hash; `UNCOUNT` takes it out again."""

UNCOUNT = """
local function uncount(bytes, id)
  local size = redis.call('HGET', bytes, id)
  if size and redis.call('HINCRBY', bytes, 'total', -size) <= 0 then
    redis.call('DEL', bytes)
  elseif size then
    redis.call('HDEL', bytes, id)
  end
end
"""

MESSAGES_LIFETIME = 4 * 86_400  # s; so long a message to a client's server is remembered

LARGEST_TOLD = 65_536  # bytes of JSON that such a message carries
MOST_BYTES = 256 * 2**20  # of results that are kept beside messages: they are in the memory of the store
MOST_WAITING = 100_000  # messages of a client that wait to be sent: some 150 MB
MOST_ENDED = 10_000  # messages of a client with the same outcome that are remembered

SETTLE = (
    UNCOUNT
    + f"""
local function exactly()
  local time = redis.call('TIME')
  return time[1] + time[2] / 1000000
end
local function settle(message, owner, outcome)
  local like = 'webhooks:ended:' .. owner .. ':' .. outcome
  redis.call('ZREM', 'webhooks:due', message)
  redis.call('ZREM', 'webhooks:waiting:' .. owner, message)
  redis.call('HDEL', 'webhook:' .. message, 'result')
  uncount('webhooks:bytes', message)
  redis.call('ZADD', like, exactly(), message)
  redis.call('EXPIRE', like, {MESSAGES_LIFETIME})
  for _, old in ipairs(redis.call('ZRANGE', like, 0, -1 - {MOST_ENDED})) do
    redis.call('DEL', 'webhook:' .. old)
    redis.call('ZREM', like, old)
    redis.call('ZREM', 'webhooks:all', old)
  end
end
local function waits(message, owner)
  local like, time = 'webhooks:waiting:' .. owner, exactly()
  redis.call('ZREMRANGEBYSCORE', like, '-inf', time - {MESSAGES_LIFETIME})
  redis.call('ZADD', like, 'NX', time, message)
  redis.call('EXPIRE', like, {MESSAGES_LIFETIME})
  if redis.call('ZCARD', like) <= {MOST_WAITING} then return end
  for _, old in ipairs(redis.call('ZRANGE', like, 0, 1)) do
    if redis.call('EXISTS', 'webhook:' .. old) == 1 then
      redis.call('HSET', 'webhook:' .. old, 'delivery', 'failed',
        'error', 'given up for newer ones: more than {MOST_WAITING} messages of its client wait')
    end
    settle(old, owner, 'failed')
  end
end
"""
)
"""Ends a message, or lets one wait: then the oldest of its client are given up if there are too many. Two at
a time, so that there are soon as few as may be."""

TELL = (
    COUNT
    + SETTLE
    + f"""
local function tell(key, id, event, revision, result)
  local job = redis.call('HMGET', key, 'webhook', 'webhooks', 'endpoint', 'owner', 'state')
  local wanted = false
  for _, name in ipairs(cjson.decode(job[1]).events) do wanted = wanted or name == event end
  if not wanted then return end
  local message, created = id .. '_' .. revision, now()
  local held = tonumber(redis.call('HGET', 'webhooks:bytes', 'total') or 0) + #result
  if #result > {LARGEST_TOLD} or held > {MOST_BYTES} then result = '' end
  if result ~= '' then count('webhooks:bytes', message, #result, {MESSAGES_LIFETIME}) end
  redis.call('HSET', 'webhook:' .. message, 'hook', job[1], 'endpoint', job[3], 'owner', job[4],
    'state', job[5], 'event', event, 'result', result, 'created', created,
    'delivery', 'pending', 'attempts', 0)
  redis.call('EXPIRE', 'webhook:' .. message, {MESSAGES_LIFETIME})
  redis.call('ZADD', 'webhooks:all', created, message)
  redis.call('EXPIRE', 'webhooks:all', {MESSAGES_LIFETIME})
  redis.call('ZADD', 'webhooks:due', created, message)
  waits(message, job[4])
  redis.call('HSET', key, 'webhooks', (job[2] and job[2] .. ' ' or '') .. message)
end
"""
)
"""Writes a message to the server of the job's client: see `tasks/webhooks/outbox.py`."""

DAY = """
local function today() return math.floor(tonumber(redis.call('TIME')[1]) / 86400) end
"""
