"""What a running job tells its caller: progress reports, and at the end the result."""

from collections.abc import Awaitable, Callable, Mapping
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
class PollFailed:
    """One question for the progress got no answer; it will be asked again."""

    error: StokerClientError


Event = JobProgress | JobResult | PollFailed

ResultCallback = Callable[[dict[str, Any]], Any]
ProgressCallback = Callable[[ProgressInfo, Mapping[str, Any]], Any]
ProgressErrorCallback = Callable[[str], Any]


@dataclass(frozen=True)
class Listeners:
    """The callbacks of one request, each of which may be absent."""

    result: ResultCallback | None = None
    progress: ProgressCallback | None = None
    progress_error: ProgressErrorCallback | None = None

    @property
    def wants_progress(self) -> bool:
        """Whether the job must be polled for the sake of a callback."""
        return self.progress is not None or self.progress_error is not None

    def notify(self, event: Event) -> object:
        """Call the callback that the event is for.

        Returns:
            what the callback gave, an awaitable if it is asynchronous; None without a callback.
        """
        match event:
            case JobProgress(info, data) if self.progress:
                return self.progress(info, data)
            case PollFailed(error) if self.progress_error:
                return self.progress_error(str(error))
            case JobResult(result) if self.result:
                return self.result(result)
        return None

    def notify_plain(self, event: Event) -> None:
        """The same, for callers that have no event loop.

        Raises:
            TypeError: the callback is asynchronous.
        """
        answer = self.notify(event)
        if isinstance(answer, Awaitable):
            close = getattr(answer, "close", None)
            if close is not None:
                close()
            raise TypeError("an asynchronous callback needs do_api_request_async")
