"""BatchPool: a Celery execution pool that runs requests in batches on a model host.

Everything but the execution stays Celery's own: consuming, acks, events, remote control, revokes.
"""

from __future__ import annotations

import gc
import logging
import math
import os
import select
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib.metadata import version
from typing import Any

from billiard.einfo import ExceptionInfo
from celery.concurrency.base import BasePool
from celery.platforms import EX_FAILURE
from celery.signals import worker_shutting_down
from celery.worker import state
from celery.worker.request import Request

from tasks.celery import model_queue, task_queue
from tasks.errors import StokerError
from tasks.jobs import Job, JobState, Priority, WorkerInfo
from tasks.store import JobStore
from workers.dispatch import Dispatcher
from workers.events import Answer, Fatal
from workers.host import Host, ProcessHost
from workers.main import served
from workers.messages import FromHost
from workers.metrics import MetricsError
from workers.namesake import has_namesake
from workers.signals import SecondSignal

logger = logging.getLogger(__name__)

QUICK = 1.0  # s that a batch may take


class JobFailed(StokerError):
    """The model failed on a job; shown in Celery's events."""


class BatchPool(BasePool):
    """Hands requests to the dispatcher and does on Celery's loop thread what it answers.

    Attributes:
        spawn: starts a model host for queues; it tells its messages to a callback.
    """

    spawn: Callable[[Sequence[str], Callable[[FromHost], None]], Host] = ProcessHost
    task_join_will_block = False

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        settings, endpoints = self.app.stoker_settings, self.app.stoker_endpoints
        self._queues = self._select_queues()
        self._requests: dict[int, Request] = {}
        self._last_delivery = 0
        self._answers: deque[Answer | Fatal] = deque()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._second_signal = SecondSignal(self._wake)
        self._drain_timeout = settings.drain_timeout or math.inf
        self._hub: Any = None
        self._consumer: Any = None
        mine = served(endpoints, set(self._queues))
        self._name = options["initargs"][1]
        info = WorkerInfo(
            name=self._name,
            max_batch_size=self.limit or 1,
            description={"interface_version": f"stoker {version('stoker')}"},
        )
        self._dispatcher = Dispatcher(
            JobStore.from_url(settings.store_url, connections=2, silence=60),
            {e.name: e for e in mine},
            lambda on_message: self.spawn(self._queues, on_message),
            self._reply,
            info,
            self._queues,
        )

    def _select_queues(self) -> list[str]:
        """Consume all priorities of the queues that were named; gives the model queues."""
        queues = self.app.amqp.queues
        named = list(queues.consume_from)
        for name in named:
            if model_queue(name) == name:
                for priority in Priority:
                    queues.select_add(task_queue(name, priority))
        return sorted({model_queue(name) for name in named})

    # -- Celery's life cycle

    def on_start(self) -> None:
        """Start the host and wait until its models are loaded.

        Raises:
            SystemExit: another worker has this name, a model cannot be loaded, the metrics cannot be
                served, or the worker was told to stop meanwhile.
        """
        _be_modest()
        if has_namesake(self.app, self._name):
            logger.critical(
                "another worker is called %s: give each a name of its own (-n NAME@%%h)", self._name
            )
            raise SystemExit(EX_FAILURE)
        self._serve_metrics()
        self._dispatcher.thread.start()
        self._second_signal.install()
        worker_shutting_down.connect(self._second_signal.on_first)
        while not self._dispatcher.ready.wait(0.2):
            state.maybe_shutdown()
        if self._dispatcher.failure:
            logger.critical("%s", self._dispatcher.failure)
            raise SystemExit(EX_FAILURE)
        gc.freeze()  # what was imported stays: looking through it for garbage takes 50 ms each time

    def _serve_metrics(self) -> None:
        settings = self.app.stoker_settings
        if not settings.metrics_port:
            return
        try:
            self._dispatcher.metrics.serve(settings.metrics_host, settings.metrics_port)
        except MetricsError as error:
            logger.critical("%s", error)
            raise SystemExit(EX_FAILURE) from error

    @property
    def quick(self) -> bool:
        """Whether a batch is over so soon that one more may wait here; known once the pool has started."""
        return self._dispatcher.batch_time <= QUICK

    def register_with_event_loop(self, loop: Any) -> None:
        """Listen for answers; called again after each reconnect, when the hub has forgotten us."""
        self._hub = loop
        loop.add_reader(self._wake, self._handle_answers)

    def attach(self, consumer: Any) -> None:
        """Know the consumer whose buffered events are to be sent at the end."""
        self._consumer = consumer

    def connection_lost(self) -> None:
        """Forget all deliveries: the broker hands them out again."""
        for request in self._requests.values():
            state.task_ready(request)  # else Celery would show them for ever
        self._requests.clear()
        self._dispatcher.connection_lost()

    def on_stop(self) -> None:
        """Finish the running batch, store and ack it; the rest goes back when the connection closes.

        At a second signal, or when the batch takes longer than the drain timeout, all goes back.
        """
        self._dispatcher.shutdown()
        end = time.monotonic() + self._drain_timeout
        while self._dispatcher.thread.is_alive():
            select.select([self._wake], [], [], 0.1)
            if state.should_terminate or time.monotonic() > end:
                self._dispatcher.kill()
            self._turn()
        self._turn()

    def on_terminate(self) -> None:
        """End at once; everything that is not acked goes back."""
        self._dispatcher.kill()
        self._dispatcher.thread.join(timeout=5)

    def _turn(self) -> None:
        """Do what the stopped loop would: answers, heartbeats, events."""
        try:
            self._handle_answers()
            if self._hub:
                self._hub.fire_timers()
            if self._consumer:
                self._consumer.flush_events()
        except Exception as error:  # the connection may be gone: the results are stored all the same
            logger.warning("while stopping: %r", error)

    # -- requests in, answers out

    def on_apply(self, target: Any, args: Any, kwargs: Any, **options: Any) -> None:
        """Take a request from Celery; `accept_callback` is bound to it."""
        request: Request = options["accept_callback"].__self__
        job: Job = request.message.job  # the consumer has read it
        self._last_delivery += 1
        self._requests[self._last_delivery] = request
        self._dispatcher.arrive(self._last_delivery, job, canceled=request.id in state.revoked)

    def cancel(self, request: Request) -> None:
        """Stop the job of a request; it is answered once it has stopped."""
        self._dispatcher.cancel(request.id)

    def _reply(self, answers: Sequence[Answer | Fatal]) -> None:
        """Called on the dispatcher's thread."""
        self._answers += answers
        if len(self._answers) == len(answers):  # else the loop is on its way
            os.eventfd_write(self._wake, 1)

    def _handle_answers(self) -> None:
        try:
            os.eventfd_read(self._wake)
        except BlockingIOError:
            pass
        try:
            with self._consumer.together():
                while self._answers:
                    self._handle(self._answers.popleft())
        finally:
            if self._answers:  # the connection broke at one of them; `_reply` counts on our being on the way
                os.eventfd_write(self._wake, 1)

    def _handle(self, answer: Answer | Fatal) -> None:
        if isinstance(answer, Fatal):
            logger.critical("%s", answer.reason)
            state.should_stop = EX_FAILURE
        elif answer.started:
            if request := self._requests.get(answer.delivery):
                request.on_accepted(self._dispatcher.host_pid, time.monotonic())
        elif request := self._requests.pop(answer.delivery, None):
            self._finish(request, answer)

    def _finish(self, request: Request, answer: Answer) -> None:
        """Ack the message and send the event."""
        if answer.state in (JobState.FAILED, JobState.LAPSED):
            try:
                raise JobFailed(answer.error)
            except JobFailed:
                info = ExceptionInfo()
            info.exception = JobFailed(answer.error)  # the event shows it; billiard wraps it for a pipe
            request.on_success((True, info, answer.run_time))
            return
        state.task_ready(request)
        request.acknowledge()
        if answer.state is JobState.CANCELED:
            ran = answer.run_time is not None
            request.send_event("task-revoked", terminated=ran, signum=None, expired=False)
        else:
            request.send_event("task-succeeded", result=answer.state, runtime=answer.run_time)

    def _get_info(self) -> dict[str, Any]:
        return {**super()._get_info(), "queues": self._queues, "running": self._dispatcher.running}


def _be_modest() -> None:
    """Let this process, and the host that it starts, wait for a processor until somebody leaves one.

    Else each message that comes in would interrupt whoever runs, mostly the API on the same machine: the more
    it has to do, the smaller the batches in which its messages come.
    """
    if os.sched_getscheduler(0) == os.SCHED_OTHER:
        with suppress(OSError):  # a container may forbid it; it is only slower then
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
