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

TELL = (
    COUNT
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
  redis.call('HSET', key, 'webhooks', (job[2] and job[2] .. ' ' or '') .. message)
end
"""
)
"""Writes a message to the server of the job's client: see `tasks/webhooks/outbox.py`."""

DAY = """
local function today() return math.floor(tonumber(redis.call('TIME')[1]) / 86400) end
"""
