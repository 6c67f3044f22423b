"""What a running job tells its caller: progress reports, and at the end the result."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypedDict

from .errors import StokerClientError


class ProgressInfo(TypedDict):
    """Where a job stands.

    Keys:
        success: always True; a job without success raises.
        job_id: id of the job.
        job_state: "queued" or "processing".
        progress: what the model reported last, usually percent from 0 to 100; 0 before its first report.
        queue_position: rank from 1 while the job is queued, then 0.
        estimate: seconds until the result is expected; -1 when no worker is online.
    """

    success: bool
    job_id: str
    job_state: str
    progress: float
    queue_position: int
    estimate: float


@dataclass(frozen=True)
class JobProgress:
    """One progress report: where the job stands, and the partial outputs that the model gave so far."""

    info: ProgressInfo
    data: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class JobResult:
    """The result of a job: its outputs by name, beside success, job_id and the timings in seconds."""

    result: dict[str, Any] = field(repr=False)


@dataclass(frozen=True)
class TriesAgain:
    """A call failed, and is sent again in a moment."""

    error: StokerClientError


Event = JobProgress | JobResult | TriesAgain
