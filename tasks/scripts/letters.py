"""Scripts for dead letters: see `tasks/deadletters.py`."""

from __future__ import annotations

from tasks.scripts.parts import TERMINAL

LOOK = "return {redis.call('HGETALL', KEYS[1]), redis.call('TIME')[1]}"
"""job -> its record, seconds since 1970."""

_DEAD = """
local function forget(id)
  if redis.call('ZREM', KEYS[1], id) == 0 then return 0 end
  redis.call('DECRBY', KEYS[4], redis.call('HSTRLEN', KEYS[3], id))
  redis.call('HDEL', KEYS[3], id)
  return redis.call('HDEL', KEYS[2], id)
end
"""

KEEP = (
    TERMINAL
    + _DEAD
    + """
local id, died = ARGV[1], tonumber(ARGV[2])
if ended(redis.call('HGET', KEYS[5], 'state')) then return -1 end
forget(id)
redis.call('ZADD', KEYS[1], died, id)
redis.call('HSET', KEYS[2], id, ARGV[3])
redis.call('HSET', KEYS[3], id, ARGV[4])
redis.call('INCRBY', KEYS[4], #ARGV[4])
local gone = 0
for _, old in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', died - ARGV[5])) do
  gone = gone + forget(old)
end
while redis.call('ZCARD', KEYS[1]) > math.max(1, tonumber(ARGV[6]))
  or (redis.call('ZCARD', KEYS[1]) > 1 and tonumber(redis.call('GET', KEYS[4])) > tonumber(ARGV[7])) do
  gone = gone + forget(redis.call('ZRANGE', KEYS[1], 0, 0)[1])
end
for n = 1, 4 do redis.call('EXPIRE', KEYS[n], ARGV[5]) end
return gone
"""
)
"""the four keys of dead letters, job; id, time of death, letter, body, lifetime, most letters, most bytes of
bodies -> letters forgotten for it, or -1 if the job has ended."""

FORGET = (
    _DEAD
    + """
local died = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not died or (ARGV[2] ~= '' and tonumber(died) ~= tonumber(ARGV[2])) then return 0 end
return forget(ARGV[1])
"""
)
"""the four keys of dead letters; id, time of death or '' -> 1, or 0 if there is no such letter."""

LETTERS = """
local ids = {unpack(ARGV, 2)}
if not ids[1] then ids = redis.call('ZRANGEBYSCORE', KEYS[1], ARGV[1], 'inf') end
local letters = {}
for n, id in ipairs(ids) do letters[#letters + 1] = redis.call('HGET', KEYS[2], id) or nil end
return letters
"""
"""the first two keys of dead letters; oldest time of death, ids (default: all) -> letters."""

BODY = "return redis.call('HGET', KEYS[1], ARGV[1])"
"""bodies of dead letters; id -> its body, if there is one."""

REQUEUE = """
local job = redis.call('HMGET', KEYS[1], 'state', 'revision')
if job[1] and job[1] ~= 'failed' and job[1] ~= 'queued' then return job[1] end
redis.call('HDEL', KEYS[1], 'result', 'progress', 'started', 'worker', 'canceled', 'deaths', 'runner')
if job[1] ~= 'queued' then redis.call('HDEL', KEYS[1], 'holder', 'lease') end
redis.call('HSET', KEYS[1], 'revision', (job[2] or 0) + 1, unpack(ARGV, 5))
redis.call('EXPIRE', KEYS[1], ARGV[3])
redis.call('ZADD', KEYS[2], ARGV[2], ARGV[1])
redis.call('ZADD', KEYS[3], ARGV[4], ARGV[1])
redis.call('EXPIRE', KEYS[3], ARGV[3])
redis.call('PUBLISH', KEYS[1], '')
return 'queued'
"""
"""job, waiting, owner's jobs; id, score, lifetime, accepted, fields... -> queued, or the state that it is in
and stays in.

The one way from a terminal state to another: an operator lets a dead job run again.
"""
