"""The desk between broker, store and model host: one thread that owns the table of runs.

Celery's loop thread hands deliveries in and takes answers out; the host's reader hands messages in. All
decisions are made here, one after another, and whatever may block (Redis, spawning) blocks only here.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from schemas import Endpoint
from tasks.errors import StoreUnavailable
from tasks.jobs import Job, JobState, Progress, Result, WorkerInfo
from tasks.store import JobStore, lapsed
from workers.host import Host
from workers.messages import (
    Died,
    Done,
    Dropped,
    FromHost,
    Item,
    Jobs,
    LoadFailed,
    Outcome,
    Ready,
    Recall,
    Report,
    Started,
    Stop,
)
from workers.progress import Throttle
from workers.results import Aborted, to_result, until_stored
from workers.table import Phase, Run, Table
from workers.verdict import MAX_KILLS, judge

logger = logging.getLogger(__name__)

ANNOUNCE = 5.0  # s between two signs of life in the store
RESPAWN = (0.0, 0.5, 1.0, 2.0, 5.0, 10.0)  # s before the next host, by deaths without an outcome between
PACE = 0.1  # weight of the newest batch in the mean time per job


@dataclass(frozen=True, slots=True)
class Arrived:
    """A delivery from the broker."""

    delivery: int
    job: Job


@dataclass(frozen=True, slots=True)
class ConnectionLost:
    """All deliveries of before are void."""


@dataclass(frozen=True, slots=True)
class Shutdown:
    """Finish the running batch, then end."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What Celery's loop thread shall do about a delivery.

    Attributes:
        started: it starts now; the other fields say nothing.
        error: what went wrong with the job, if something did.
        run_time: seconds on the model; None: it was not run for this delivery.
    """

    delivery: int
    started: bool = False
    error: str | None = None
    run_time: float | None = None
    result: str = ""


@dataclass(frozen=True, slots=True)
class Fatal:
    """The worker cannot go on."""

    reason: str


class Dispatcher(threading.Thread):
    """Gives jobs to the host and results to the store.

    Args:
        store: where results go.
        endpoints: those served, by name.
        spawn: starts a host that tells its messages to the given callback.
        reply: takes answers, and news for the worker; called from this thread.
        info: how the worker announces itself.
        queues: names of the queues that it serves.
    """

    def __init__(
        self,
        store: JobStore,
        endpoints: dict[str, Endpoint],
        spawn: Callable[[Callable[[FromHost], None]], Host],
        reply: Callable[[Answer | Fatal], None],
        info: WorkerInfo,
        queues: Sequence[str],
    ) -> None:
        super().__init__(name="dispatcher", daemon=True)
        self.ready = threading.Event()
        self.failure: str | None = None
        self.abort = threading.Event()
        self._store, self._endpoints, self._spawn, self._reply = store, endpoints, spawn, reply
        self._inbox: queue.SimpleQueue[Arrived | ConnectionLost | Shutdown | FromHost] = queue.SimpleQueue()
        self._table = Table()
        self._throttle = Throttle()
        self._info, self._queues = info, queues
        self._host: Host | None = None
        self._deaths = 0  # of hosts, since the last outcome
        self._spawn_at: float | None = 0.0
        self._batch_deadline: float | None = None
        self._timed_out = False
        self._announce_at = 0.0
        self._stopping = False
        self._pace = 0.0
        self._claims: list[Run] = []
        self._sends: list[Run] = []
        self._starts: list[Run] = []
        self._last_words: list[tuple[Run, Progress]] = []
        self._results: list[tuple[Run, Result, Outcome]] = []

    # -- from other threads

    def arrive(self, delivery: int, job: Job) -> None:
        """Take a delivery."""
        self._inbox.put(Arrived(delivery, job))

    def connection_lost(self) -> None:
        """Forget all deliveries: the broker will hand them out again."""
        self._inbox.put(ConnectionLost())

    def shutdown(self) -> None:
        """Finish the running batch, store its results, end."""
        self._inbox.put(Shutdown())

    def kill(self) -> None:
        """End at once; nothing that is not stored yet will be."""
        self.abort.set()
        if self._host:
            self._host.kill()
        self.shutdown()

    @property
    def host_pid(self) -> int:
        """Process id of the model host; 0 between two."""
        return self._host.pid if self._host else 0

    @property
    def running(self) -> int:
        """Number of jobs on the model; a snapshot."""
        return len(self._table.in_phase(Phase.STARTED))

    # -- the thread

    def run(self) -> None:
        """Work until shut down."""
        try:
            while not self._over():
                self._read()
                self._settle()
            self._try_store(lambda: self._store.retire(self._info, self._queues))
        except Aborted:
            logger.warning("ended by force with %d jobs given back", len(self._table))
        except Exception:
            logger.exception("the dispatcher failed")
            self.failure = "the dispatcher failed; see the log"
            self._reply(Fatal(self.failure))
        finally:
            if self._host:
                self._host.kill()
            self.ready.set()

    def _over(self) -> bool:
        if self.abort.is_set():
            return True
        return self._stopping and self._host is None and not self._results

    def _read(self) -> None:
        try:
            self._handle(self._inbox.get(timeout=self._timeout()))
            while True:
                self._handle(self._inbox.get_nowait())
        except queue.Empty:
            pass

    def _timeout(self) -> float:
        dues = [self._announce_at, self._throttle.next_due(), self._spawn_at, self._batch_deadline]
        return max(0.0, min(due for due in dues if due is not None) - time.monotonic())

    def _handle(self, event: Arrived | ConnectionLost | Shutdown | FromHost) -> None:
        if isinstance(event, Arrived):
            if run := self._table.arrive(event.delivery, event.job):
                self._claims.append(run)
        elif isinstance(event, Started):
            self._on_started(event)
        elif isinstance(event, Report):
            progress = Progress(event.percent, event.outputs)
            self._throttle.offer(event.number, progress, time.monotonic())
        elif isinstance(event, Done):
            self._on_done(event)
        elif isinstance(event, Dropped):
            again = (self._table.dropped(number) for number in event.numbers)
            self._sends += [run for run in again if run]
        elif isinstance(event, ConnectionLost):
            self._on_connection_lost()
        elif isinstance(event, Died):
            self._on_died(event)
        elif isinstance(event, Ready):
            self._on_ready(event)
        elif isinstance(event, LoadFailed):
            self.failure = event.reason
        elif isinstance(event, Shutdown):
            self._on_shutdown()

    def _on_connection_lost(self) -> None:
        recalled = set(self._table.connection_lost())
        for run in [run for run in self._sends if run.number in recalled]:  # the host has not seen these
            self._sends.remove(run)
            recalled.remove(run.number)
            self._table.dropped(run.number)
        if recalled and self._host:
            self._host.send(Recall(sorted(recalled)))

    def _on_ready(self, event: Ready) -> None:
        logger.info("model host %d is ready after %.1f s", self.host_pid, event.load_time)
        self._info = replace(self._info, description={**self._info.description, **event.description})
        self._announce_at = 0.0
        self.ready.set()

    def _on_started(self, event: Started) -> None:
        runs = self._table.started(event.numbers, time.time())
        self._starts += runs
        longest = max((self._endpoints[run.job.endpoint].max_runtime for run in runs), default=0.0)
        self._batch_deadline = time.monotonic() + longest if runs else None
        for run in runs:
            for delivery in run.deliveries:
                self._reply(Answer(delivery, started=True))

    def _on_done(self, event: Done) -> None:
        size, now = len(event.outcomes), time.time()
        self._batch_deadline, self._deaths = None, 0
        self._pace += (event.run_time / size - self._pace) * (PACE if self._pace else 1.0)
        failed = sum(outcome.error is not None for outcome in event.outcomes)
        logger.info("batch of %d in %.1f ms, %d failed", size, event.run_time * 1000, failed)
        for outcome in event.outcomes:
            if run := self._table.ended(outcome.number):
                self._end(run, outcome, now)

    def _end(self, run: Run, outcome: Outcome, now: float) -> None:
        if (held_back := self._throttle.forget(run.number)) is not None:
            self._last_words.append((run, held_back))
        result = to_result(run.job, outcome, run.started, now, self._info.name)
        self._results.append((run, result, outcome))

    def _fail(self, run: Run, error: str) -> None:
        if self._table.ended(run.number):
            self._end(run, Outcome(run.number, error=error), time.time())

    def _on_died(self, event: Died) -> None:
        self._host = None
        self._batch_deadline = None
        if self._stopping:
            return
        if self.failure is None and not self.ready.is_set():
            self.failure = f"the model host died while it loaded its models: {event.reason}"
        if self.failure:
            self._reply(Fatal(self.failure))
            self._stopping = True
            self.ready.set()
            return
        running, waiting = self._table.host_died()
        reason = "ran longer than max_runtime" if self._timed_out else f"the model host died ({event.reason})"
        retry, failed = judge(running, 1 if self._timed_out else MAX_KILLS)
        self._timed_out = False
        logger.error(
            "%s with %d jobs running: %d run again alone, %d fail; %d wait for the next host",
            reason,
            len(running),
            len(retry),
            len(failed),
            len(waiting),
        )
        for run in failed:
            self._fail(run, f"Job ended with its process: {reason}")
        self._sends += [run for run in (self._table.retry_alone(run) for run in retry) if run] + waiting
        self._spawn_at = time.monotonic() + RESPAWN[min(self._deaths, len(RESPAWN) - 1)]
        self._deaths += 1

    def _on_shutdown(self) -> None:
        self._stopping = True
        self._spawn_at = None
        if self._host and self.ready.is_set():
            self._host.send(Stop())
        elif self._host:
            self._host.kill()  # it loads its models and listens to nobody

    # -- what follows from a turn's events

    def _settle(self) -> None:
        now = time.monotonic()
        if self._spawn_at is not None and self._spawn_at <= now and not self._stopping:
            self._spawn_at = None
            self._host = self._spawn(self._inbox.put)
        if self._batch_deadline is not None and self._batch_deadline <= now and self._host:
            self._batch_deadline, self._timed_out = None, True
            self._host.kill()
        self._claim()
        self._send()
        self._record()
        if self._announce_at <= now:
            self._announce_at = now + ANNOUNCE
            self._announce()

    def _claim(self) -> None:
        runs, self._claims = self._claims, []
        if not runs or self._stopping:
            return
        states = until_stored(lambda: self._store.states([run.job.id for run in runs]), self.abort)
        now = time.time()
        for run, state in zip(runs, states, strict=True):
            late = state is JobState.QUEUED and now > run.job.deadline
            send, answered = self._table.claimed(run.number, state is not None and state.terminal)
            run.alone = state is JobState.PROCESSING  # a worker died with it: it may have been the cause
            if send and late:
                self._table.ended(run.number)
                self._results.append((run, lapsed(run.job, now), Outcome(run.number)))
            elif send and run.job.endpoint not in self._endpoints:
                self._fail(run, f"This worker has no model for endpoint {run.job.endpoint}")
            elif send:
                self._sends.append(run)
            for delivery in answered:
                self._reply(Answer(delivery, result="had ended before"))

    def _send(self) -> None:
        if not self._sends or not self._host or self._stopping:
            return
        items = [Item(r.number, r.job.id, r.job.endpoint, r.job.inputs, r.alone) for r in self._sends]
        self._sends = []
        self._host.send(Jobs(items))

    def _record(self) -> None:
        """Write starts, progress and results, in the order in which they happened to each job."""
        if starts := self._starts:
            self._starts = []
            now = time.time()
            jobs = [run.job for run in starts]
            until_stored(lambda: self._store.start(jobs, self._info.name, now), self.abort)
        taken = [(self._table.get(n), p) for n, p in self._throttle.take(time.monotonic())]
        reports = [(run.job, p) for run, p in (*taken, *self._last_words) if run]
        self._last_words = []
        if reports:
            until_stored(lambda: self._store.report(reports), self.abort)
        if results := self._results:
            until_stored(
                lambda: self._store.finish([(r.job, result, o.session_vars) for r, result, o in results]),
                self.abort,
            )
            self._results = []
            for run, result, _ in results:
                for delivery in self._table.stored(run.number):
                    self._reply(_answer(delivery, result))

    def _announce(self) -> None:
        if not self.ready.is_set() or self._stopping:
            return
        info = replace(self._info, running=self.running, seconds_per_job=self._pace)
        self._try_store(lambda: self._store.announce(info, self._queues, time.time()))

    def _try_store(self, action: Callable[[], object]) -> None:
        try:
            action()
        except StoreUnavailable as error:
            logger.debug("not announced: %s", error)


def _answer(delivery: int, result: Result) -> Answer:
    run_time = None if result.started is None else result.finished - result.started
    error = None if result.state is JobState.DONE else result.error
    return Answer(delivery, error=error, run_time=run_time, result=result.state.value)
