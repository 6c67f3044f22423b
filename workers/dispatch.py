"""The desk between broker, store and model host: one thread that owns the table of runs.

Celery's loop thread hands deliveries in and takes answers out; the host's reader hands messages in. All
decisions are made here, one after another, and whatever may block (Redis, spawning) blocks only here.
"""

from __future__ import annotations

import logging
import math
import queue
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

from schemas import Endpoint
from tasks.errors import StoreUnavailable
from tasks.jobs import Job, JobState, WorkerInfo
from tasks.store import JobStore
from tasks.store.running import Claim
from workers.events import Answer, Arrived, CancelAsked, ConnectionLost, Event, Fatal, Shutdown
from workers.host import Host
from workers.keeper import Keeper
from workers.messages import (
    Died,
    Done,
    Dropped,
    FromHost,
    Leaving,
    LoadFailed,
    Ready,
    Report,
    Returned,
    Started,
)
from workers.metrics import Metrics, Snapshot
from workers.overseer import Overseer
from workers.results import Aborted, Recorder, until_stored
from workers.table import Phase, Run, Table
from workers.verdict import Cause

logger = logging.getLogger(__name__)

ANNOUNCE = 5.0  # s between two signs of life in the store
TEND = 0.5  # s between two looks at the jobs that are held: renew their lease, see who was canceled
MAX_DEATHS = 3  # workers that may die while they run a job before it is failed


class Dispatcher:
    """Gives jobs to the host and results to the store.

    Args:
        store: where results go.
        endpoints: those served, by name.
        spawn: starts a host that tells its messages to the given callback.
        reply: takes the answers of a turn, and news for the worker; called from this thread.
        info: how the worker announces itself.
        queues: names of the queues that it serves.

    Attributes:
        thread: works until shut down; the owner starts it.
        metrics: what it tells Prometheus, if somebody serves it.
        batch_time: seconds that a batch takes at most, as far as is known when `ready` is set.
    """

    def __init__(
        self,
        store: JobStore,
        endpoints: dict[str, Endpoint],
        spawn: Callable[[Callable[[FromHost], None]], Host],
        reply: Callable[[Sequence[Answer | Fatal]], None],
        info: WorkerInfo,
        queues: Sequence[str],
    ) -> None:
        self.thread = threading.Thread(target=self.run, name="dispatcher", daemon=True)
        self.ready = threading.Event()
        self.batch_time = math.inf
        self.failure: str | None = None
        self.abort = threading.Event()
        self._store, self._endpoints, self._reply = store, endpoints, reply
        self._inbox: queue.SimpleQueue[Event | FromHost] = queue.SimpleQueue()
        self._table = Table()
        self._holder = f"{info.name}#{uuid.uuid4().hex}"
        self._recorder = Recorder(store, self._holder, self.abort)
        self._info, self._queues = info, queues
        max_load_time = sum(e.max_load_time for e in endpoints.values()) or math.inf
        self._keeper = Keeper(spawn, self._inbox.put, max_load_time)
        self._overseer = Overseer(self._table, self._keeper, self._recorder)
        self.metrics = Metrics(info.name, queues, list(endpoints), self._snapshot)
        self._announce_at = 0.0
        self._tend_at = math.inf
        self._stopping = False
        self._answers: list[Answer] = []  # of this turn
        self._claims: list[Run] = []
        self._elsewhere: list[tuple[float, Run]] = []  # to be claimed again, since another worker runs them

    # -- from other threads

    def arrive(self, delivery: int, job: Job, canceled: bool = False) -> None:
        """Take a delivery; `canceled`: of a job that shall not run."""
        self._inbox.put(Arrived(delivery, job, canceled))

    def cancel(self, job_id: str) -> None:
        """Stop a job wherever it is in this worker."""
        self._inbox.put(CancelAsked(job_id))

    def connection_lost(self) -> None:
        """Forget all deliveries: the broker will hand them out again."""
        self._inbox.put(ConnectionLost())

    def shutdown(self) -> None:
        """Finish the running batch, store its results, end."""
        self._inbox.put(Shutdown())

    def kill(self) -> None:
        """End at once; nothing that is not stored yet will be."""
        self.abort.set()
        self._keeper.kill()
        self.shutdown()

    @property
    def host_pid(self) -> int:
        """Process id of the model host; 0 between two."""
        return self._keeper.pid

    @property
    def running(self) -> int:
        """Number of jobs on the model; a snapshot."""
        return len(self._table.running)

    def _snapshot(self) -> Snapshot:
        held = self._table.in_phase(Phase.CLAIMING, Phase.SENT, Phase.RECALLED)
        running = self._table.in_phase(Phase.STARTED)
        return Snapshot(
            self._keeper.pid,
            self._keeper.ready,
            running=Counter(run.job.endpoint for run in running),
            held=Counter(run.job.endpoint for run in held),
        )

    # -- the thread

    def run(self) -> None:
        """Work until shut down."""
        try:
            while not self._over():
                self._read()
                self._settle()
        except Aborted:
            logger.warning("ended by force with %d jobs given back", len(self._table))
        except Exception:
            logger.exception("the dispatcher failed")
            self.failure = "the dispatcher failed; see the log"
            self._reply([Fatal(self.failure)])
        finally:
            self._keeper.kill()
            self._give_back()
            self.ready.set()

    def _give_back(self) -> None:
        """Tell the store that this worker is gone and holds nothing any more."""
        held = self._table.in_phase(Phase.CLAIMING, Phase.SENT, Phase.RECALLED, Phase.STARTED)
        ids = [run.job.id for run in held]
        self._try_store(lambda: self._store.release(ids, self._holder))
        self._try_store(lambda: self._store.retire(self._info, self._queues))

    def _over(self) -> bool:
        if self.abort.is_set():
            return True
        return self._stopping and not self._keeper.alive and not self._recorder.pending

    def _read(self) -> None:
        try:
            self._handle(self._inbox.get(timeout=self._timeout()))
            while True:
                self._handle(self._inbox.get_nowait())
        except queue.Empty:
            pass

    def _timeout(self) -> float:
        due = min(
            self._announce_at,
            self._tend_at,
            self._recorder.next_due(),
            self._keeper.next_due(),
            self._overseer.next_due(),
            *(due for due, _ in self._elsewhere),
        )
        return max(0.0, due - time.monotonic())

    def _handle(self, event: Event | FromHost) -> None:
        match event:
            case Arrived():
                self._on_arrived(event)
            case Started():
                runs = self._overseer.started(event)
                self.metrics.started(runs, event.together)
                self._answers += [Answer(d, started=True) for run in runs for d in run.deliveries]
            case Report():
                self._overseer.reported(event)
            case Done():
                self._overseer.done(event)
            case Dropped():
                self._overseer.dropped(event)
            case Returned():
                self._overseer.returned(event)
            case CancelAsked():
                if canceled := self._table.of_job(event.job_id):
                    self._overseer.cancel(canceled)
            case ConnectionLost():
                self._overseer.connection_lost()
            case Leaving():
                logger.info("model host %d is replaced: %s", self.host_pid, event.reason)
                self._keeper.leaves()
            case Died():
                self._on_died(event)
            case Ready():
                self._on_ready(event)
            case LoadFailed():
                self.failure = event.reason
            case Shutdown():
                self._on_shutdown()

    def _on_arrived(self, event: Arrived) -> None:
        if run := self._table.arrive(event.delivery, event.job):
            run.canceled = event.canceled
            self._claims.append(run)
        elif event.canceled and (run := self._table.of_job(event.job.id)):
            self._overseer.cancel(run)

    def _on_ready(self, event: Ready) -> None:
        logger.info("model host %d is ready after %.1f s", self.host_pid, event.load_time)
        self._info = replace(self._info, description={**self._info.description, **event.description})
        self._announce_at = 0.0
        self._keeper.loaded()
        self.metrics.host_ready(event.load_time)
        self.batch_time = event.batch_time
        self.ready.set()

    def _on_died(self, event: Died) -> None:
        cause = self._keeper.died()
        if self._stopping:
            self._keeper.stop()
            return
        self.failure = self.failure or self._hopeless(event, cause)
        if self.failure:
            self._reply([Fatal(self.failure)])
            self._on_shutdown()
            self.ready.set()
        else:
            self.metrics.host_restarts(cause)
            self._overseer.died(event, cause)

    def _hopeless(self, event: Died, cause: Cause) -> str | None:
        """Say why the worker cannot go on; None if it can."""
        why = "it did not load in max_load_time" if cause is Cause.LOADING else event.reason
        if not self.ready.is_set():
            return f"the model host died while it loaded its models: {why}"
        if self._keeper.hopeless:
            return f"one model host after the other died, the last one: {why}"
        return None

    def _on_shutdown(self) -> None:
        self._stopping = True
        self._keeper.stop()

    # -- what follows from a turn's events

    def _settle(self) -> None:
        now = time.monotonic()
        self._keeper.act(now)
        self._claim(now)
        self._overseer.act(now, self._stopping)
        for run, result in self._recorder.write(time.monotonic()):
            self.metrics.finished(run.job, result)
            self._answers += [Answer.of(delivery, result) for delivery in self._table.stored(run.number)]
        if self._answers:
            self._reply(self._answers)
            self._answers = []
        self._overseer.log()
        refused, self._recorder.refused = self._recorder.refused, []
        for run in refused:
            if run.phase is Phase.STARTED:
                self._overseer.cancel(run)
        self._tend(now)
        if self._announce_at <= now:
            self._announce_at = now + ANNOUNCE
            self._announce()

    def _claim(self, now: float) -> None:
        self._claims += [run for due, run in self._elsewhere if due <= now]
        self._elsewhere = [(due, run) for due, run in self._elsewhere if due > now]
        runs, self._claims = self._claims, []
        if not runs or self._stopping:
            return
        ids = [run.job.id for run in runs]
        claims = until_stored(lambda: self._store.claim(ids, self._holder), self.abort)
        for run, claim in zip(runs, claims, strict=True):
            if claim.wait and run.deliveries:
                self._elsewhere.append((now + min(claim.wait, 1.0), run))
            else:
                self._on_claimed(run, claim)

    def _on_claimed(self, run: Run, claim: Claim) -> None:
        run.alone = claim.state is JobState.PROCESSING  # a worker died with it: it may have been the cause
        run.canceled |= claim.canceled
        send, answered = self._table.claimed(run.number, bool(claim.state and claim.state.terminal))
        self._answers += map(Answer, answered)
        if not send:
            return
        if run.canceled:
            self._overseer.end_canceled(run)
        elif claim.state is not JobState.PROCESSING and time.time() > run.job.deadline:
            self._overseer.lapse(run)
        elif claim.deaths >= MAX_DEATHS:
            self._overseer.fail(run, f"{claim.deaths} workers died while they ran this job")
        elif run.job.endpoint not in self._endpoints:
            self._overseer.fail(run, f"This worker has no model for endpoint {run.job.endpoint}")
        else:
            self._overseer.send(run)

    def _tend(self, now: float) -> None:
        """Renew the lease on what this worker holds, and see what was canceled."""
        if now < self._tend_at < math.inf:
            return
        ids = [run.job.id for run in self._table.in_phase(Phase.SENT, Phase.STARTED)]
        due, self._tend_at = self._tend_at <= now, (now + TEND if ids else math.inf)
        if due and ids:
            for job_id in until_stored(lambda: self._store.tend(ids, self._holder), self.abort):
                if canceled := self._table.of_job(job_id):
                    self._overseer.cancel(canceled)

    def _announce(self) -> None:
        if not self.ready.is_set() or self._stopping:
            return
        info = replace(self._info, running=self.running, seconds_per_job=self._overseer.pace)
        self._try_store(lambda: self._store.announce(info, self._queues, time.time()))

    def _try_store(self, action: Callable[[], object]) -> None:
        try:
            action()
        except StoreUnavailable as error:
            logger.debug("the store was not told: %s", error)
