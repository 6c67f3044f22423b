"""The events of one job, for a plain `for` as well as for an `async for`."""

from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, closing

from .drivers import drive, drive_async
from .events import JobProgress, JobResult, TriesAgain
from .flow import Flow
from .sessions import Sessions


class JobEvents:
    """The events of one job: iterate once, plainly or asynchronously. Nothing is sent before that."""

    def __init__(self, sessions: Sessions, flow: Flow[None]) -> None:
        self._sessions = sessions
        self._flow = flow

    def __iter__(self) -> Iterator[JobProgress | JobResult]:
        with closing(drive(self._flow, self._sessions.link())) as events:
            for event in events:
                if not isinstance(event, TriesAgain):
                    yield event

    async def __aiter__(self) -> AsyncIterator[JobProgress | JobResult]:
        async with aclosing(drive_async(self._flow, self._sessions.async_link())) as events:
            async for event in events:
                if not isinstance(event, TriesAgain):
                    yield event
