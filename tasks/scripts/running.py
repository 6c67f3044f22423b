"""Scripts for jobs that run. CLAIM, START and TEND take many: one by one, each would cost twice as much."""

from __future__ import annotations

from tasks.scripts.parts import DAY, TELL, TERMINAL

CLAIM = (
    TERMINAL
    + """
local time = now()
local function claim(key)
  local job = redis.call('HMGET', key, 'state', 'canceled', 'holder', 'lease', 'deaths', 'runner')
  if not job[1] or ended(job[1]) then return {job[1] or '', 0, 0, 0} end
  local deaths = tonumber(job[5] or 0)
  if job[1] == 'processing' and job[3] ~= ARGV[1] then
    local left = tonumber(job[4] or 0) - time
    local name = string.match(job[3] or '', '^(.*)#')
    if left > 0 and name ~= ARGV[2] then return {job[1], 0, left, deaths} end
  end
  if job[6] and job[6] ~= ARGV[1] then
    deaths = redis.call('HINCRBY', key, 'deaths', 1)
    redis.call('HDEL', key, 'runner')
  end
  redis.call('HSET', key, 'holder', ARGV[1], 'lease', time + ARGV[3])
  return {job[1], job[2] and 1 or 0, 0, deaths}
end
local answers = {}
for n, key in ipairs(KEYS) do answers[n] = claim(key) end
return answers
"""
)
"""jobs; holder, worker, lease in s -> of each: state, canceled, seconds that another's lease still runs,
deaths.

`runner` is the holder on whose model the job started last: found by another, it died.
"""

RELEASE = """
if redis.call('HGET', KEYS[1], 'holder') == ARGV[1] then
  redis.call('HDEL', KEYS[1], 'holder', 'lease', 'runner')
end
return 1
"""
"""job; holder -> 1. It is given back."""

START = (
    TERMINAL
    + TELL
    + """
local lease = now() + ARGV[2]
local function start(key, waiting, id, ...)
  local job = redis.call('HMGET', key, 'state', 'revision', 'webhook')
  if ended(job[1]) then return 0 end
  redis.call('HSET', key, 'state', 'processing', 'lease', lease, 'revision', (job[2] or 0) + 1,
    'started', ARGV[3], 'worker', ARGV[4], 'holder', ARGV[5], 'runner', ARGV[5], ...)
  redis.call('EXPIRE', key, ARGV[1])
  redis.call('ZREM', waiting, id)
  if job[3] then tell(key, id, 'started', (job[2] or 0) + 1, '') end
  redis.call('PUBLISH', key, '')
  return 1
end
local answers, size = {}, 2 * (#ARGV - 5) / #KEYS
for n = 1, #KEYS / 2 do
  local first = 6 + (n - 1) * size
  answers[n] = start(KEYS[2 * n - 1], KEYS[2 * n], unpack(ARGV, first, first + size - 1))
end
return answers
"""
)
"""job and waiting of each; lifetime, lease in s, when, worker, holder, id and fields of each, of all as many
-> of each: 1, or 0 if it has ended."""

TEND = (
    TERMINAL
    + """
local lease, answers = now() + ARGV[2], {}
for n, key in ipairs(KEYS) do
  local job = redis.call('HMGET', key, 'holder', 'canceled')
  if job[1] == ARGV[1] then redis.call('HSET', key, 'lease', lease) end
  answers[n] = job[2] and 1 or 0
end
return answers
"""
)
"""jobs; holder, lease in s -> of each: 1 if it shall be canceled."""

REPORT = """
local job = redis.call('HMGET', KEYS[1], 'state', 'revision')
if job[1] ~= 'processing' then return 0 end
redis.call('HSET', KEYS[1], 'progress', ARGV[1], 'revision', (job[2] or 0) + 1)
redis.call('PUBLISH', KEYS[1], '')
return 1
"""
"""job; progress -> 1, or 0 if it does not run."""

FINISH = (
    TERMINAL
    + DAY
    + TELL
    + """
local job = redis.call('HMGET', KEYS[1], 'state', 'revision', 'blobs', 'day', 'open', 'webhook',
  'counted')
if ended(job[1]) then return 0 end
local last, revision = 12 + ARGV[5], (job[2] or 0) + 1
for blob in string.gmatch(job[3] or '', '%S+') do redis.call('UNLINK', blob) end
if job[6] and job[1] == 'queued' and ARGV[11] == '1' then
  redis.call('HSET', KEYS[1], 'state', 'processing')
  tell(KEYS[1], ARGV[1], 'started', revision, '')
  revision = revision + 1
end
redis.call('HSET', KEYS[1], 'revision', revision, unpack(ARGV, 12, last - 1))
redis.call('EXPIRE', KEYS[1], ARGV[3])
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('ZREM', KEYS[3], ARGV[1])
if job[5] then redis.call('ZREM', job[5], ARGV[1]) end
if job[7] then uncount(job[7], ARGV[1]) end
if ARGV[7] ~= '' then
  local out = #ARGV[4]
  for blob in string.gmatch(ARGV[10], '%S+') do out = out + redis.call('STRLEN', blob) end
  if redis.call('RPUSH', KEYS[4], ARGV[7] .. ',' .. out .. ']') > tonumber(ARGV[8]) then
    redis.call('RPOP', KEYS[4])
    redis.call('INCR', KEYS[4] .. ':dropped')
  end
end
if job[4] and tonumber(ARGV[9]) > 0 then
  local day = job[4] .. today()
  redis.call('HINCRBYFLOAT', day, 'seconds', ARGV[9])
  redis.call('EXPIRE', day, 2 * 86400)
end
if KEYS[5] then
  redis.call('HSET', KEYS[5], unpack(ARGV, last))
  if redis.call('TTL', KEYS[5]) < 0 then redis.call('EXPIRE', KEYS[5], ARGV[6]) end
end
if job[6] then tell(KEYS[1], ARGV[1], 'completed', revision, ARGV[4]) end
if ARGV[2] ~= '' then redis.call('PUBLISH', ARGV[2], ARGV[1] .. ' ' .. ARGV[4]) end
redis.call('PUBLISH', KEYS[1], '')
return 1
"""
)
"""job, waiting, share, usage, session if it has new variables; id, reply_to, lifetime, result, number
of field arguments, lifetime of a new session, what usage keeps of it or '', most that usage keeps, seconds of
the model's time, large outputs, 1 if it had started, fields..., variables... -> 1, or 0 if it had ended
before.

It says of a job that has started what START would have said, if that was left out."""
