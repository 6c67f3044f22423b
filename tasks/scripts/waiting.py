"""Scripts for jobs that wait."""

from __future__ import annotations

from tasks.scripts.parts import COUNT, DAY, TERMINAL, UNCOUNT

ADD = (
    DAY
    + COUNT
    + """
if redis.call('EXISTS', KEYS[1]) == 1 then return redis.call('HEXISTS', KEYS[1], 'lowered') + 1 end
local id, day = string.sub(KEYS[1], 5), nil
if KEYS[5] ~= '' and redis.call('ZCARD', KEYS[5]) >= tonumber(ARGV[6]) then return -1 end
if KEYS[6] ~= '' then
  day = KEYS[6] .. today()
  local used = redis.call('HMGET', day, 'bytes', 'seconds')
  if tonumber(ARGV[11]) > 0 and (used[1] or 0) + ARGV[10] > tonumber(ARGV[11]) then return -2 end
  if tonumber(ARGV[12]) > 0 and tonumber(used[2] or 0) >= tonumber(ARGV[12]) then return -3 end
end
if redis.call('ZCARD', KEYS[2]) >= tonumber(ARGV[1]) then return 0 end
local held = KEYS[7] ~= '' and tonumber(redis.call('HGET', KEYS[7], 'total') or 0)
if held and held > 0 and held + ARGV[10] > tonumber(ARGV[13]) then return -4 end
local answer, score = 1, ARGV[2]
redis.call('HSET', KEYS[1], unpack(ARGV, 14))
redis.call('EXPIRE', KEYS[1], ARGV[3])
if ARGV[8] ~= '' then
  local share = tonumber(ARGV[9])
  local sharing = redis.call('ZCARD', KEYS[4])
  if sharing >= share and redis.call('ZCOUNT', KEYS[4], ARGV[5], '+inf') >= share then
    answer, score = 2, ARGV[8]
    redis.call('HSET', KEYS[1], 'lowered', 1)
  end
  redis.call('ZADD', KEYS[4], ARGV[7], id)
  if sharing == 0 then redis.call('EXPIRE', KEYS[4], ARGV[3]) end
end
redis.call('ZADD', KEYS[2], score, id)
redis.call('ZADD', KEYS[3], ARGV[5], id)
redis.call('ZREMRANGEBYRANK', KEYS[3], 0, -1 - ARGV[4])
redis.call('EXPIRE', KEYS[3], ARGV[3])
if KEYS[5] ~= '' then
  redis.call('HSET', KEYS[1], 'open', KEYS[5])
  redis.call('ZADD', KEYS[5], ARGV[7], id)
  redis.call('EXPIRE', KEYS[5], ARGV[3])
end
if day then
  redis.call('HSET', KEYS[1], 'day', KEYS[6])
  redis.call('HINCRBY', day, 'bytes', ARGV[10])
  redis.call('EXPIRE', day, 2 * 86400)
end
if held then
  redis.call('HSET', KEYS[1], 'counted', KEYS[7])
  count(KEYS[7], id, ARGV[10], ARGV[3])
end
return answer
"""
)
"""job, waiting, owner's jobs, share, open if jobs at once are limited, day if its use is, bytes if the job
counts there; limit, score, lifetime, owner's jobs kept, accepted, limit of open, deadline, score if lowered
or '' if that cannot be, limit of share, size, bytes and seconds of a day, limit of bytes, fields... -> 1, 2
if it waits with the next lower priority, 0 if the queue is full, -1 if as many jobs are open as may, -2 or -3
if bytes or seconds are used up, -4 if the large jobs have as many bytes as may.

A job that is there, perhaps withdrawn already, stays as it is.
"""

CANCEL = (
    TERMINAL
    + """
local job = redis.call('HMGET', KEYS[1], 'state', 'holder', 'lease')
if not job[1] or ended(job[1]) then return {job[1] or '', 0} end
redis.call('HSET', KEYS[1], 'canceled', 1)
local held = job[2] and tonumber(job[3] or 0) > now()
return {job[1], (job[1] == 'queued' and not held) and 1 or 0}
"""
)
"""job -> state, 1 if no worker holds it: then it can be ended at once."""

UNCOUNT_FORGOTTEN = (
    UNCOUNT
    + """
for _, id in ipairs(ARGV) do
  if redis.call('EXISTS', 'job:' .. id) == 0 then uncount(KEYS[1], id) end
end
return 1
"""
)
"""bytes; ids... -> 1. Those whose record is gone count no more."""
