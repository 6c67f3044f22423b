"""The jobs of an API key, newest first, page by page."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from tasks.jobs import JobState
from tasks.records import owner_key
from tasks.store import JobStore

LOOKED_AT = 1000  # records for one page: a filter that few jobs pass gives short pages, not slow ones
CURSOR = re.compile(r"[0-9]{1,17}(?:\.[0-9]{1,17})?(?:e\+[0-9]{1,2})?_[A-Za-z0-9-]{1,64}")  # score, id

_LIST = """
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


@dataclass(frozen=True, slots=True)
class JobSummary:
    """One line of the list. Times are in seconds since 1970.

    Attributes:
        id: of the job.
        endpoint: its name.
        state: where the job is in its life.
        accepted: when the API accepted it.
        started: when a batch with it started on a model; None if none did yet.
    """

    id: str
    endpoint: str
    state: JobState
    accepted: float
    started: float | None


@dataclass(frozen=True, slots=True)
class Page:
    """A part of the list.

    Attributes:
        jobs: newest first.
        next: cursor of the page after this one; None: this was the last.
    """

    jobs: Sequence[JobSummary]
    next: str | None


def list_jobs(
    store: JobStore,
    owner: str,
    now: float,
    *,
    limit: int,
    cursor: str | None = None,
    state: JobState | None = None,
    endpoint: str | None = None,
) -> Page:
    """List jobs that are not forgotten yet; of each key the store knows the newest ones (`JOBS_LISTED`).

    Args:
        store: the job store.
        owner: id of the API key.
        now: seconds since 1970.
        limit: jobs on the page, at most; there may be fewer and still another page.
        cursor: `next` of the page before; it must match `CURSOR`.
        state: only jobs in this state.
        endpoint: only jobs of this endpoint.

    Raises:
        StoreUnavailable: Redis does not answer.
    """
    score, _, after = (cursor or "+inf_").partition("_")
    args = [limit, LOOKED_AT, score, after, state or "", endpoint or "", now]
    rows, last = store.run([(_LIST, [owner_key(owner)], args)])[0]
    found = [
        JobSummary(job_id, called, JobState(stands), float(accepted), float(started) if started else None)
        for job_id, called, stands, accepted, started, _ in rows
    ]
    late = [job_id for job_id, *_, is_late in rows if is_late]
    lapsed = {status.id: status.state for status in store.get_many(late, now) if status is not None}
    found = [replace(job, state=lapsed.get(job.id, job.state)) for job in found]
    return Page([job for job in found if state in (None, job.state)], last or None)
