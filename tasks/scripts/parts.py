"""Functions in Lua that several scripts begin with."""

from __future__ import annotations

TERMINAL = """
local function ended(s) return s and s ~= 'queued' and s ~= 'processing' end
local function now() return tonumber(redis.call('TIME')[1]) end
"""

MESSAGES_LIFETIME = 4 * 86_400  # s; so long a message to a client's server is remembered

LARGEST_RESULT = 65_536  # bytes of JSON that are kept beside such a message

TELL = f"""
local function tell(key, id, event, revision, result)
  local job = redis.call('HMGET', key, 'webhook', 'webhooks', 'endpoint', 'owner', 'state')
  local wanted = false
  for _, name in ipairs(cjson.decode(job[1]).events) do wanted = wanted or name == event end
  if not wanted then return end
  local message, created = id .. '_' .. revision, now()
  redis.call('HSET', 'webhook:' .. message, 'hook', job[1], 'endpoint', job[3], 'owner', job[4],
    'state', job[5], 'event', event, 'result', #result <= {LARGEST_RESULT} and result or '',
    'created', created, 'delivery', 'pending', 'attempts', 0)
  redis.call('EXPIRE', 'webhook:' .. message, {MESSAGES_LIFETIME})
  redis.call('ZADD', 'webhooks:all', created, message)
  redis.call('EXPIRE', 'webhooks:all', {MESSAGES_LIFETIME})
  redis.call('ZADD', 'webhooks:due', created, message)
  redis.call('HSET', key, 'webhooks', (job[2] and job[2] .. ' ' or '') .. message)
end
"""
"""Writes a message to the server of the job's client: see `tasks/webhooks/outbox.py`."""

DAY = """
local function today() return math.floor(tonumber(redis.call('TIME')[1]) / 86400) end
"""

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
