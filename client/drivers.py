"""Drivers carry a flow out over a link, with or without an event loop: no logic but the order of steps."""

from collections.abc import AsyncGenerator, Generator
from contextlib import aclosing, closing

from .errors import StokerClientError
from .events import Event, JobProgress, JobResult, TriesAgain
from .flow import Flow, Reply, Step, T
from .links import AsyncLink, Link

_EVENTS = (JobProgress, JobResult, TriesAgain)


def complete(flow: Flow[T], link: Link) -> T:
    """Carry a flow out; gives what it returns."""
    reply: Reply = None
    with closing(link), closing(flow):
        while True:
            try:
                step = _resume(flow, reply)
            except StopIteration as end:
                value: T = end.value
                return value
            reply = None if isinstance(step, _EVENTS) else link.perform(step)


async def complete_async(flow: Flow[T], link: AsyncLink) -> T:
    """As complete, on the running event loop."""
    reply: Reply = None
    async with aclosing(link):
        with closing(flow):
            while True:
                try:
                    step = _resume(flow, reply)
                except StopIteration as end:
                    value: T = end.value
                    return value
                reply = None if isinstance(step, _EVENTS) else await link.perform(step)


def drive(flow: Flow[None], link: Link) -> Generator[Event, None, None]:
    """Carry a flow out; yields its events."""
    reply: Reply = None
    with closing(link), closing(flow):
        while True:
            try:
                step = _resume(flow, reply)
            except StopIteration:
                return
            reply = None
            if isinstance(step, _EVENTS):
                yield step
            else:
                reply = link.perform(step)


async def drive_async(flow: Flow[None], link: AsyncLink) -> AsyncGenerator[Event, None]:
    """As drive, on the running event loop."""
    reply: Reply = None
    async with aclosing(link):
        with closing(flow):
            while True:
                try:
                    step = _resume(flow, reply)
                except StopIteration:
                    return
                reply = None
                if isinstance(step, _EVENTS):
                    yield step
                else:
                    reply = await link.perform(step)


def _resume(flow: Flow[T], reply: Reply) -> Step:
    return flow.throw(reply) if isinstance(reply, StokerClientError) else flow.send(reply)
