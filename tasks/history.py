"""The jobs of an API key, newest first, page by page."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from tasks.jobs import JobState
from tasks.records import owner_key
from tasks.scripts import LIST
from tasks.store import JobStore

LOOKED_AT = 1000  # records for one page: a filter that few jobs pass gives short pages, not slow ones
CURSOR = re.compile(r"[0-9]{1,17}(?:\.[0-9]{1,17})?(?:e\+[0-9]{1,2})?_[A-Za-z0-9-]{1,64}")  # score, id


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
    rows, last = store.run([(LIST, [owner_key(owner)], args)])[0]
    found = [
        JobSummary(job_id, called, JobState(stands), float(accepted), float(started) if started else None)
        for job_id, called, stands, accepted, started, _ in rows
    ]
    late = [job_id for job_id, *_, is_late in rows if is_late]
    lapsed = {status.id: status.state for status in store.get_many(late, now) if status is not None}
    found = [replace(job, state=lapsed.get(job.id, job.state)) for job in found]
    return Page([job for job in found if state in (None, job.state)], last or None)
