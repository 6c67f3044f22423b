"""Who hears of the events of one request: callbacks and the progress bar."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from .events import Event, JobProgress, JobResult, ProgressInfo, TriesAgain
from .progressbar import ProgressBar

ResultCallback = Callable[[dict[str, Any]], Any]
ProgressCallback = Callable[[ProgressInfo, Mapping[str, Any]], Any]
ProgressErrorCallback = Callable[[str], Any]


@dataclass(frozen=True)
class Listeners:
    """The callbacks of one request and its progress bar, each of which may be absent."""

    result: ResultCallback | None = None
    progress: ProgressCallback | None = None
    progress_error: ProgressErrorCallback | None = None
    bar: ProgressBar | None = None

    @property
    def want_progress(self) -> bool:
        """Whether the job must be polled for the sake of one of them."""
        return not (self.progress is None and self.progress_error is None and self.bar is None)

    def notify(self, event: Event) -> object:
        """Call the callback that the event is for.

        Returns:
            what the callback gave, an awaitable if it is asynchronous; None without a callback.
        """
        if self.bar and isinstance(event, JobProgress):
            self.bar.update(event.info)
        match event:
            case JobProgress(info, data) if self.progress:
                return self.progress(info, data)
            case TriesAgain(error) if self.progress_error:
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
