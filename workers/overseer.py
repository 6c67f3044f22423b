"""Watches over runs once they may run: sends, cancels and ends them, and judges when their host died."""

from __future__ import annotations

import logging
import math
import time
from dataclasses import replace

from tasks.jobs import Progress
from tasks.records import canceled, lapsed
from workers.keeper import Keeper
from workers.messages import (
    Cancel,
    Died,
    Done,
    Dropped,
    Item,
    Jobs,
    Outcome,
    Recall,
    Report,
    Returned,
    Started,
)
from workers.modeltime import ModelTime
from workers.results import Recorder
from workers.table import Phase, Run, Table
from workers.verdict import Cause, judge

logger = logging.getLogger(__name__)

CANCEL_GRACE = 5.0  # s that a canceled job has to stop by itself before its host is killed
PACE = 0.1  # weight of the newest outcomes in the mean time per job

REASONS = {
    Cause.ITSELF: "the model host died ({})",
    Cause.TIMEOUT: "a job ran longer than max_runtime and was killed",
    Cause.CANCEL: "the model host was killed, since a canceled job did not stop",
    Cause.LOADING: "the model host was killed, since it did not load its models in max_load_time",
    Cause.WORN: "the model host is replaced",
}


class Overseer:
    """Runs on the model host, and those about to be sent there. Called from one thread.

    Args:
        table: all runs.
        keeper: the host.
        recorder: takes what becomes of them.
    """

    def __init__(self, table: Table, keeper: Keeper, recorder: Recorder) -> None:
        self._table, self._keeper, self._recorder = table, keeper, recorder
        self._time = ModelTime()
        self._sends: dict[int, Run] = {}  # what the host has not seen yet
        self._batches: list[Done] = []  # not in the log yet
        self._killing = False
        self.pace = 0.0  # s that a job takes, of late

    # -- what the worker wants

    def send(self, run: Run) -> None:
        """Let a run go to the host."""
        self._sends[run.number] = run

    def cancel(self, run: Run) -> None:
        """Stop a run: before it starts if that can be, by its model if not, by force if it must be."""
        if run.canceled:
            return
        run.canceled = True
        if self._sends.pop(run.number, None):
            self.end_canceled(run)
        elif run.phase is Phase.SENT:
            self._keeper.send(Recall([run.number]))
        elif run.phase is Phase.STARTED:
            self._stop(run)

    def fail(self, run: Run, error: str) -> None:
        """End a run as failed."""
        self._end(Outcome(run.number, error=error), time.time())

    def lapse(self, run: Run) -> None:
        """End a run whose job waited too long."""
        if self._table.ended(run.number):
            self._recorder.ended(run, lapsed(run.job, time.time()))

    def end_canceled(self, run: Run) -> None:
        """End a run that was canceled and does not run any more."""
        if self._table.ended(run.number):
            now = time.time()
            took = self._time.ended(run.number, now)
            self._recorder.ended(
                run, replace(canceled(run.job, now), started=run.started, model_seconds=took)
            )

    def connection_lost(self) -> None:
        """Forget all deliveries; the host drops what it has not started."""
        recalled = self._table.connection_lost()
        for number in self._sends.keys() & recalled:
            self._table.dropped(number)
        if seen := [number for number in recalled if number not in self._sends]:
            self._keeper.send(Recall(seen))
        self._sends.clear()

    # -- what the host says

    def started(self, event: Started) -> list[Run]:
        """Take runs that start; gives those that are still wanted."""
        runs = self._table.started(event.numbers, event.at, time.monotonic() + event.max_runtime)
        for run in runs:
            self._time.started(run.number, event.at)
        self._recorder.started(runs)
        self._keeper.started()
        for run in runs:
            if run.canceled:  # the recall came too late
                self._stop(run)
        return runs

    def reported(self, event: Report) -> None:
        """Take progress."""
        run = self._table.get(event.number)
        if run is not None and run.phase is Phase.STARTED:
            self._recorder.reported(
                run, Progress(event.percent, event.outputs, event.blobs), time.monotonic()
            )

    def done(self, event: Done) -> None:
        """Take outcomes."""
        size = len(event.outcomes)
        self._keeper.worked()
        self.pace += (event.run_time / size - self.pace) * (PACE if self.pace else 1.0)
        self._batches.append(event)
        for outcome in event.outcomes:
            self._end(outcome, event.at)

    def log(self) -> None:
        """Write of the batches that are done into the log; their clients need not wait for that."""
        batches, self._batches = self._batches, []
        for batch in batches:
            failed = sum(outcome.error is not None for outcome in batch.outcomes)
            logger.info(
                "batch of %d in %.1f ms, %d failed", len(batch.outcomes), batch.run_time * 1000, failed
            )

    def dropped(self, event: Dropped) -> None:
        """Take back runs that the host never started."""
        for number in event.numbers:
            self._resend(self._table.dropped(number))

    def returned(self, event: Returned) -> None:
        """Take back runs that shall run again, each alone."""
        for number in event.numbers:
            if run := self._table.get(number):
                self._forget(run)
                self._resend(self._table.retry(run, alone=True))

    def died(self, event: Died, cause: Cause) -> None:
        """Decide what becomes of the runs on a host that is gone."""
        self._killing = False
        self._sends.clear()  # they are among those that wait
        running, waiting = self._table.host_died()
        verdict = judge(running, cause, time.monotonic())
        reason = REASONS[cause].format(event.reason)
        if cause is not Cause.WORN or running:
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
            self._forget(run)
        for run in verdict.failed:
            self.fail(run, f"Job ended with its process: {reason}")
        for run in verdict.canceled:
            self.end_canceled(run)
        again = [self._table.retry(run, alone=run in verdict.alone) for run in verdict.alone + verdict.again]
        for one in again + waiting:
            self._resend(one)

    # -- at each turn

    def next_due(self) -> float:
        """When `act` has something to do, by the monotonic clock."""
        if self._killing:
            return math.inf
        return min((run.overdue for run in self._table.running), default=math.inf)

    def act(self, now: float, stopping: bool) -> None:
        """Kill the host if a run is overdue; else give it the runs that are to be sent, unless it stops."""
        if self.next_due() <= now:
            late = min(self._table.running, key=lambda run: run.overdue)
            self._keeper.kill(Cause.CANCEL if late.canceled else Cause.TIMEOUT)
            self._killing = True
        elif self._sends and self._keeper.alive and not stopping:
            self._keeper.send(Jobs([_item(run) for run in self._sends.values()]))
            self._sends.clear()

    def _forget(self, run: Run) -> None:
        """End what is known of a run that begins anew: its client does not pay for that."""
        self._recorder.forget(run)
        self._time.ended(run.number, time.time())

    def _resend(self, run: Run | None) -> None:
        if run is None:
            return
        if run.canceled:
            self.end_canceled(run)
        else:
            self.send(run)

    def _stop(self, run: Run) -> None:
        self._keeper.send(Cancel([run.number]))
        run.overdue = min(run.overdue, time.monotonic() + CANCEL_GRACE)

    def _end(self, outcome: Outcome, at: float) -> None:
        run = self._table.get(outcome.number)
        if run is not None and run.canceled:
            self.end_canceled(run)
        elif run := self._table.ended(outcome.number):
            result = self._recorder.result(run, outcome, at, self._time.ended(run.number, at))
            self._recorder.ended(run, result, outcome.session_vars)


def _item(run: Run) -> Item:
    job = run.job
    return Item(run.number, job.id, job.endpoint, job.inputs, run.alone, job.priority, job.blobs)
