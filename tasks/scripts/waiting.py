"""Scripts for jobs that wait."""

from __future__ import annotations

from tasks.scripts.parts import COUNT, DAY, TERMINAL, UNCOUNT

ADD = (
    DAY
    + COUNT
    + """
local lifetime, owners = ARGV[1], {}
local function add(key, waiting, owner, sharing, open, uses, bytes, limit, score, accepted, most_open,
    deadline, lowered, share, size, day_bytes, day_seconds, most_bytes, ...)
  if redis.call('EXISTS', key) == 1 then return redis.call('HEXISTS', key, 'lowered') + 1 end
  local id, day = string.sub(key, 5), nil
  if open ~= '' and redis.call('ZCARD', open) >= tonumber(most_open) then return -1 end
  if uses ~= '' then
    day = uses .. today()
    local used = redis.call('HMGET', day, 'bytes', 'seconds')
    if tonumber(day_bytes) > 0 and (used[1] or 0) + size > tonumber(day_bytes) then return -2 end
    if tonumber(day_seconds) > 0 and tonumber(used[2] or 0) >= tonumber(day_seconds) then return -3 end
  end
  if redis.call('ZCARD', waiting) >= tonumber(limit) then return 0 end
  local held = bytes ~= '' and tonumber(redis.call('HGET', bytes, 'total') or 0)
  if held and held > 0 and held + size > tonumber(most_bytes) then return -4 end
  local answer = 1
  redis.call('HSET', key, ...)
  redis.call('EXPIRE', key, lifetime)
  if lowered ~= '' then
    local jobs = redis.call('ZCARD', sharing)
    if jobs >= tonumber(share) and redis.call('ZCOUNT', sharing, accepted, '+inf') >= tonumber(share) then
      answer, score = 2, lowered
      redis.call('HSET', key, 'lowered', 1)
    end
    redis.call('ZADD', sharing, deadline, id)
    if jobs == 0 then redis.call('EXPIRE', sharing, lifetime) end
  end
  redis.call('ZADD', waiting, score, id)
  redis.call('ZADD', owner, accepted, id)
  owners[owner] = true
  if open ~= '' then
    redis.call('HSET', key, 'open', open)
    redis.call('ZADD', open, deadline, id)
    redis.call('EXPIRE', open, lifetime)
  end
  if day then
    redis.call('HSET', key, 'day', uses)
    redis.call('HINCRBY', day, 'bytes', size)
    redis.call('EXPIRE', day, 2 * 86400)
  end
  if held then
    redis.call('HSET', key, 'counted', bytes)
    count(bytes, id, size, lifetime)
  end
  return answer
end
local answers, at = {}, 3
for n = 1, #KEYS / 7 do
  local first, last = 7 * n - 6, at + ARGV[at]
  local key, waiting, owner, sharing, open, uses, bytes = unpack(KEYS, first, first + 6)
  answers[n] = add(key, waiting, owner, sharing, open, uses, bytes, unpack(ARGV, at + 1, last))
  at = last + 1
end
for owner in pairs(owners) do
  redis.call('ZREMRANGEBYRANK', owner, 0, -1 - ARGV[2])
  redis.call('EXPIRE', owner, lifetime)
end
return answers
"""
)
"""job, waiting, owner's jobs, share, open if jobs at once are limited, day if its use is, bytes if the job
counts there, of each; lifetime, owner's jobs kept, and of each: number of its arguments, limit, score,
accepted, limit of open, deadline, score if lowered or '' if that cannot be, limit of share, size, bytes and
seconds of a day, limit of bytes, fields... -> of each: 1, 2 if it waits with the next lower priority, 0 if
the queue is full, -1 if as many jobs are open as may, -2 or -3 if bytes or seconds are used up, -4 if the
large jobs have as many bytes as may.

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
