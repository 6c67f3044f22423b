"""The desk between broker, store and model host: one thread that owns the table of runs.

Celery's loop thread hands deliveries in and takes answers out; the host's reader hands messages in. All
decisions are made here, one after another, and whatever may block (Redis, spawning) blocks only here.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace

from schemas import Endpoint
from tasks.errors import StoreUnavailable
from tasks.jobs import Job, JobState, Progress, WorkerInfo
from tasks.records import canceled, lapsed
from tasks.store import Claim, JobStore
from workers.events import Answer, Arrived, CancelAsked, ConnectionLost, Event, Fatal, Shutdown
from workers.host import Host
from workers.keeper import Keeper
from workers.messages import (
    Cancel,
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
)
from workers.results import Aborted, Recorder, until_stored
from workers.table import Phase, Run, Table
from workers.verdict import Cause, judge

logger = logging.getLogger(__name__)

ANNOUNCE = 5.0  # s between two signs of life in the store
TEND = 0.5  # s between two looks at the jobs that are held: renew their lease, see who was canceled
MAX_DEATHS = 3  # workers that may die while they run a job before it is failed
PACE = 0.1  # weight of the newest batch in the mean time per job


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
        self._store, self._endpoints, self._reply = store, endpoints, reply
        self._inbox: queue.SimpleQueue[Event | FromHost] = queue.SimpleQueue()
        self._table = Table()
        self._holder = f"{info.name}#{uuid.uuid4().hex}"
        self._recorder = Recorder(store, self._holder, self.abort)
        self._info, self._queues = info, queues
        self._keeper = Keeper(spawn, self._inbox.put)
        self._announce_at = 0.0
        self._tend_at: float | None = None
        self._stopping = False
        self._pace = 0.0
        self._claims: list[Run] = []
        self._sends: list[Run] = []
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
        return len(self._table.in_phase(Phase.STARTED))

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
            self._reply(Fatal(self.failure))
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
        dues = [
            self._announce_at,
            self._recorder.next_due(),
            self._keeper.next_due(),
            self._tend_at,
            *(due for due, _ in self._elsewhere),
        ]
        return max(0.0, min(due for due in dues if due is not None) - time.monotonic())

    def _handle(self, event: Event | FromHost) -> None:
        match event:
            case Arrived():
                self._on_arrived(event)
            case Started():
                self._on_started(event)
            case Report():
                run = self._table.get(event.number)
                if run is not None and run.phase is Phase.STARTED:
                    self._recorder.reported(run, Progress(event.percent, event.outputs), time.monotonic())
            case Done():
                self._on_done(event)
            case Dropped():
                self._on_dropped(event)
            case CancelAsked():
                if run := self._table.of_job(event.job_id):
                    self._cancel(run)
            case ConnectionLost():
                self._on_connection_lost()
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
            self._cancel(run)

    def _on_dropped(self, event: Dropped) -> None:
        for number in event.numbers:
            if run := self._table.dropped(number):
                if run.canceled:
                    self._end_canceled(run)
                else:
                    self._sends.append(run)

    def _cancel(self, run: Run) -> None:
        """Stop a run: before it starts if that can be, by its model if not, by force if it must be."""
        if run.canceled:
            return
        run.canceled = True
        if run in self._sends:
            self._sends.remove(run)
            self._end_canceled(run)
        elif run.phase is Phase.SENT:
            self._keeper.send(Recall([run.number]))
        elif run.phase is Phase.STARTED:
            self._stop_running(run)

    def _stop_running(self, run: Run) -> None:
        self._keeper.send(Cancel([run.number]))
        self._keeper.cancel_asked()

    def _end_canceled(self, run: Run) -> None:
        if self._table.ended(run.number):
            self._recorder.ended(run, replace(canceled(run.job, time.time()), started=run.started))

    def _on_connection_lost(self) -> None:
        recalled = set(self._table.connection_lost())
        for run in [run for run in self._sends if run.number in recalled]:  # the host has not seen these
            self._sends.remove(run)
            recalled.remove(run.number)
            self._table.dropped(run.number)
        if recalled:
            self._keeper.send(Recall(sorted(recalled)))

    def _on_ready(self, event: Ready) -> None:
        logger.info("model host %d is ready after %.1f s", self.host_pid, event.load_time)
        self._info = replace(self._info, description={**self._info.description, **event.description})
        self._announce_at = 0.0
        self._keeper.ready = True
        self.ready.set()

    def _on_started(self, event: Started) -> None:
        runs = self._table.started(event.numbers, event.at)
        self._recorder.started(runs)
        if runs:
            self._keeper.batch_started(max(self._endpoints[run.job.endpoint].max_runtime for run in runs))
        for run in runs:
            if run.canceled:  # the recall came too late
                self._stop_running(run)
            for delivery in run.deliveries:
                self._reply(Answer(delivery, started=True))

    def _on_done(self, event: Done) -> None:
        size = len(event.outcomes)
        self._keeper.batch_done()
        self._pace += (event.run_time / size - self._pace) * (PACE if self._pace else 1.0)
        failed = sum(outcome.error is not None for outcome in event.outcomes)
        logger.info("batch of %d in %.1f ms, %d failed", size, event.run_time * 1000, failed)
        for outcome in event.outcomes:
            self._end(outcome, event.at)

    def _end(self, outcome: Outcome, now: float) -> None:
        run = self._table.get(outcome.number)
        if run is not None and run.canceled:
            self._end_canceled(run)
        elif run := self._table.ended(outcome.number):
            self._recorder.ended(run, self._recorder.result(run, outcome, now), outcome.session_vars)

    def _fail(self, run: Run, error: str) -> None:
        self._end(Outcome(run.number, error=error), time.time())

    def _on_died(self, event: Died) -> None:
        cause = self._keeper.died()
        if self._stopping:
            self._keeper.stop()
            return
        if self.failure is None and not self.ready.is_set():
            self.failure = f"the model host died while it loaded its models: {event.reason}"
        if self.failure is None and self._keeper.hopeless:
            self.failure = f"one model host after the other died, the last one: {event.reason}"
        if self.failure:
            self._reply(Fatal(self.failure))
            self._on_shutdown()
            self.ready.set()
            return
        running, waiting = self._table.host_died()
        verdict = judge(running, cause)
        reason = {
            Cause.ITSELF: f"the model host died ({event.reason})",
            Cause.TIMEOUT: "the batch ran longer than max_runtime and was killed",
            Cause.CANCEL: "the model host was killed, since a canceled job did not stop",
        }[cause]
        logger.error(
            "%s with %d jobs running: %d run again, %d of them alone, %d fail; %d wait for the next host",
            reason,
            len(running),
            len(verdict.again) + len(verdict.alone),
            len(verdict.alone),
            len(verdict.failed),
            len(waiting),
        )
        for run in verdict.again + verdict.alone:
            self._recorder.forget(run)
        for run in verdict.failed:
            self._fail(run, f"Job ended with its process: {reason}")
        for run in [*verdict.canceled, *(run for run in waiting if run.canceled)]:
            self._end_canceled(run)
        again = [self._table.retry(run, alone=run in verdict.alone) for run in verdict.alone + verdict.again]
        self._sends += [run for run in again + waiting if run and not run.canceled]

    def _on_shutdown(self) -> None:
        self._stopping = True
        self._keeper.stop()

    # -- what follows from a turn's events

    def _settle(self) -> None:
        now = time.monotonic()
        self._keeper.act(now)
        self._claim(now)
        self._send()
        for run, result in self._recorder.write(time.monotonic()):
            for delivery in self._table.stored(run.number):
                self._reply(Answer.of(delivery, result))
        refused, self._recorder.refused = self._recorder.refused, []
        for run in refused:
            if run.phase is Phase.STARTED:
                self._cancel(run)
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
        for delivery in answered:
            self._reply(Answer(delivery))
        if not send:
            return
        if run.canceled:
            self._end_canceled(run)
        elif claim.state is not JobState.PROCESSING and time.time() > run.job.deadline:
            self._table.ended(run.number)
            self._recorder.ended(run, lapsed(run.job, time.time()))
        elif claim.deaths >= MAX_DEATHS:
            self._fail(run, f"{claim.deaths} workers died while they ran this job")
        elif run.job.endpoint not in self._endpoints:
            self._fail(run, f"This worker has no model for endpoint {run.job.endpoint}")
        else:
            self._sends.append(run)

    def _tend(self, now: float) -> None:
        """Renew the lease on what this worker holds, and see what was canceled."""
        held = self._table.in_phase(Phase.SENT, Phase.STARTED)
        if not held:
            self._tend_at = None
        elif self._tend_at is None:
            self._tend_at = now + TEND
        elif self._tend_at <= now:
            self._tend_at = now + TEND
            ids = [run.job.id for run in held]
            for job_id in until_stored(lambda: self._store.tend(ids, self._holder), self.abort):
                if run := self._table.of_job(job_id):
                    self._cancel(run)

    def _send(self) -> None:
        if not self._sends or not self._keeper.alive or self._stopping:
            return
        items = [Item(r.number, r.job.id, r.job.endpoint, r.job.inputs, r.alone) for r in self._sends]
        self._sends = []
        self._keeper.send(Jobs(items))

    def _announce(self) -> None:
        if not self.ready.is_set() or self._stopping:
            return
        info = replace(self._info, running=self.running, seconds_per_job=self._pace)
        self._try_store(lambda: self._store.announce(info, self._queues, time.time()))

    def _try_store(self, action: Callable[[], object]) -> None:
        try:
            action()
        except StoreUnavailable as error:
            logger.debug("the store was not told: %s", error)
