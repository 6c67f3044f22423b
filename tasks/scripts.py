"""The steps of a job's life that Redis takes in one piece, in Lua. Only REQUEUE changes a terminal state.

Keys are those of `tasks/store.py`; leases end by Redis's own clock, so that no two hosts' clocks are
compared.
"""

from __future__ import annotations

_TERMINAL = """
local function ended(s) return s and s ~= 'queued' and s ~= 'processing' end
local function now() return tonumber(redis.call('TIME')[1]) end
"""

MESSAGES_LIFETIME = 4 * 86_400  # s; so long a message to a client's server is remembered
LARGEST_RESULT = 65_536  # bytes of JSON that are kept beside such a message

_TELL = f"""
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

_DAY = """
local function today() return math.floor(tonumber(redis.call('TIME')[1]) / 86400) end
"""

ADD = (
    _DAY
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
  local count = redis.call('ZCARD', KEYS[4])
  if count >= share and redis.call('ZCOUNT', KEYS[4], ARGV[5], '+inf') >= share then
    answer, score = 2, ARGV[8]
    redis.call('HSET', KEYS[1], 'lowered', 1)
  end
  redis.call('ZADD', KEYS[4], ARGV[7], id)
  if count == 0 then redis.call('EXPIRE', KEYS[4], ARGV[3]) end
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
  redis.call('HSET', KEYS[7], id, ARGV[10], 'total', held + ARGV[10])
  redis.call('EXPIRE', KEYS[7], ARGV[3])
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

CLAIM = (
    _TERMINAL
    + """
local job = redis.call('HMGET', KEYS[1], 'state', 'canceled', 'holder', 'lease', 'deaths', 'runner')
if not job[1] or ended(job[1]) then return {job[1] or '', 0, 0, 0} end
local deaths = tonumber(job[5] or 0)
if job[1] == 'processing' and job[3] ~= ARGV[1] then
  local left = tonumber(job[4] or 0) - now()
  local name = string.match(job[3] or '', '^(.*)#')
  if left > 0 and name ~= ARGV[2] then return {job[1], 0, left, deaths} end
end
if job[6] and job[6] ~= ARGV[1] then
  deaths = redis.call('HINCRBY', KEYS[1], 'deaths', 1)
  redis.call('HDEL', KEYS[1], 'runner')
end
redis.call('HSET', KEYS[1], 'holder', ARGV[1], 'lease', now() + ARGV[3])
return {job[1], job[2] and 1 or 0, 0, deaths}
"""
)
"""job; holder, worker, lease in s -> state, canceled, seconds that another's lease still runs, deaths.

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
    _TERMINAL
    + _TELL
    + """
local job = redis.call('HMGET', KEYS[1], 'state', 'revision', 'webhook')
if ended(job[1]) then return 0 end
redis.call('HSET', KEYS[1], 'state', 'processing', 'lease', now() + ARGV[3], 'revision', (job[2] or 0) + 1,
  unpack(ARGV, 4))
redis.call('EXPIRE', KEYS[1], ARGV[1])
redis.call('ZREM', KEYS[2], ARGV[2])
if job[3] then tell(KEYS[1], ARGV[2], 'started', (job[2] or 0) + 1, '') end
redis.call('PUBLISH', KEYS[1], '')
return 1
"""
)
"""job, waiting; lifetime, id, lease in s, fields... -> 1, or 0 if it has ended."""

TEND = (
    _TERMINAL
    + """
local job = redis.call('HMGET', KEYS[1], 'holder', 'canceled')
if job[1] == ARGV[1] then redis.call('HSET', KEYS[1], 'lease', now() + ARGV[2]) end
return job[2] and 1 or 0
"""
)
"""job; holder, lease in s -> 1 if it shall be canceled."""

REPORT = """
local job = redis.call('HMGET', KEYS[1], 'state', 'revision')
if job[1] ~= 'processing' then return 0 end
redis.call('HSET', KEYS[1], 'progress', ARGV[1], 'revision', (job[2] or 0) + 1)
redis.call('PUBLISH', KEYS[1], '')
return 1
"""
"""job; progress -> 1, or 0 if it does not run."""

_UNCOUNT = """
local function uncount(bytes, id)
  local size = redis.call('HGET', bytes, id)
  if size and redis.call('HINCRBY', bytes, 'total', -size) <= 0 then
    redis.call('DEL', bytes)
  elseif size then
    redis.call('HDEL', bytes, id)
  end
end
"""

FINISH = (
    _TERMINAL
    + _DAY
    + _TELL
    + _UNCOUNT
    + """
local job = redis.call('HMGET', KEYS[1], 'state', 'revision', 'blobs', 'day', 'open', 'webhook',
  'counted')
if ended(job[1]) then return 0 end
local last = 11 + ARGV[5]
for blob in string.gmatch(job[3] or '', '%S+') do redis.call('UNLINK', blob) end
redis.call('HSET', KEYS[1], 'revision', (job[2] or 0) + 1, unpack(ARGV, 11, last - 1))
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
  redis.call('EXPIRE', KEYS[5], ARGV[6])
end
if job[6] then tell(KEYS[1], ARGV[1], 'completed', (job[2] or 0) + 1, ARGV[4]) end
if ARGV[2] ~= '' then redis.call('PUBLISH', ARGV[2], ARGV[1] .. ' ' .. ARGV[4]) end
redis.call('PUBLISH', KEYS[1], '')
return 1
"""
)
"""job, waiting, share, usage, session if it has new variables; id, reply_to, lifetime, result, number
of field arguments, lifetime of the session, what usage keeps of it or '', most that usage keeps, seconds of
the model's time, large outputs, fields..., variables... -> 1, or 0 if it had ended before."""

USAGE_TAKE = """
local holder = redis.call('GET', KEYS[2])
if holder and holder ~= ARGV[1] then return false end
redis.call('SET', KEYS[2], ARGV[1], 'EX', ARGV[2])
return redis.call('LRANGE', KEYS[1], 0, ARGV[3] - 1)
"""
"""usage, its lease; who asks, lifetime of the lease, most -> the oldest; none if another one has the lease.
"""

USAGE_DONE = """
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return 0 end
redis.call('LTRIM', KEYS[1], ARGV[2], -1)
local dropped = redis.call('GET', KEYS[3])
redis.call('DEL', KEYS[3])
return tonumber(dropped or 0)
"""
"""usage, its lease, number of dropped ones; who asks, how many of the oldest are done -> how many were
dropped since this was asked before."""

CANCEL = (
    _TERMINAL
    + """
local job = redis.call('HMGET', KEYS[1], 'state', 'holder', 'lease')
if not job[1] or ended(job[1]) then return {job[1] or '', 0} end
redis.call('HSET', KEYS[1], 'canceled', 1)
local held = job[2] and tonumber(job[3] or 0) > now()
return {job[1], (job[1] == 'queued' and not held) and 1 or 0}
"""
)
"""job -> state, 1 if no worker holds it: then it can be ended at once."""

UNCOUNT = (
    _UNCOUNT
    + """
for _, id in ipairs(ARGV) do
  if redis.call('EXISTS', 'job:' .. id) == 0 then uncount(KEYS[1], id) end
end
return 1
"""
)
"""bytes; ids... -> 1. Those whose record is gone count no more."""

LIST = """
local rows, last, after = {}, '', ARGV[4]
local ids = redis.call('ZREVRANGEBYSCORE', KEYS[1], ARGV[3], '-inf', 'WITHSCORES', 'LIMIT', 0, ARGV[2])
for i = 1, #ids, 2 do
  local id = ids[i]
  if not (after ~= '' and tonumber(ids[i + 1]) == tonumber(ARGV[3]) and id >= after) then
    local job = redis.call('HMGET', 'job:' .. id, 'endpoint', 'state', 'accepted', 'started', 'deadline')
    if not job[2] then
      redis.call('ZREM', KEYS[1], id)
    elseif (ARGV[5] == '' or ARGV[5] == job[2]) and (ARGV[6] == '' or ARGV[6] == job[1]) then
      local late = job[2] == 'queued' and tonumber(ARGV[7]) > tonumber(job[5])
      rows[#rows + 1] = {id, job[1], job[2], job[3], job[4] or '', late and 1 or 0}
    end
  end
  if #rows == tonumber(ARGV[1]) or i + 1 == 2 * ARGV[2] then
    last = ids[i + 1] .. '_' .. id
    break
  end
end
return {rows, last}
"""
"""owner's jobs; rows wanted, rows looked at, score and id to begin after, state, endpoint, now -> {id,
endpoint, state, accepted, started, late}..., and where the next page begins after, empty if there is none."""

HOLD = """
local held = redis.call('GET', KEYS[1])
if held and held ~= ARGV[3] then return held end
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
return ''
"""
"""name; text, lifetime, text that may be replaced (default: none) -> the text that stays, else empty."""

LET_GO = """
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
return 1
"""
"""name; text -> 1. It is forgotten if it still has this text."""

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
    _TERMINAL
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

RESERVE_UPLOADS = """
local count, bytes, soonest = 0, 0, nil
local there = redis.call('HGETALL', KEYS[1])
for n = 1, #there, 2 do
  local expires, size = string.match(there[n + 1], '^(%S+) (%S+)')
  if tonumber(expires) <= tonumber(ARGV[1]) then
    redis.call('HDEL', KEYS[1], there[n])
  else
    count, bytes = count + 1, bytes + tonumber(size)
    if not soonest or tonumber(expires) < tonumber(soonest) then soonest = expires end
  end
end
if count + ARGV[5] > tonumber(ARGV[2]) then return {'files', soonest or ''} end
if bytes + ARGV[6] > tonumber(ARGV[3]) then return {'bytes', soonest or ''} end
redis.call('HSET', KEYS[1], unpack(ARGV, 7))
redis.call('EXPIRE', KEYS[1], ARGV[4])
return {'', ''}
"""
"""owner's uploads; now, most files, most bytes, lifetime, files and bytes that come, id and text of each...
-> the limit that would be broken, else empty; when the next upload expires, if there is any."""

FIND_UPLOAD = "return redis.call('HGET', KEYS[1], ARGV[1])"
"""owner's uploads; id -> its text, if there is one."""

DROP_UPLOAD = "return redis.call('HDEL', KEYS[1], ARGV[1])"
"""owner's uploads; id -> 1, or 0 if there is no such one."""
