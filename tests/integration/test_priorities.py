"""Jobs of three priorities in one model queue."""

from __future__ import annotations

import statistics

from tasks.jobs import JobState, Priority


def test_high_goes_first_and_bulk_last_whatever_came_first(submitter, start_worker, tmp_path):
    log = tmp_path / "runs"
    for priority, count in [(Priority.BULK, 24), (Priority.NORMAL, 48), (Priority.HIGH, 8)]:
        for _ in range(count):
            submitter.submit(priority=priority, text=priority, action="sleep", seconds=0.01, log=str(log))
    start_worker("trial_cpu")
    last = submitter.submit(text="last", log=str(log))
    assert submitter.results([last])[0].state is JobState.DONE
    runs = log.read_text().split()
    at = {p: [n for n, text in enumerate(runs) if text == p] for p in Priority}
    assert max(at[Priority.HIGH]) < 24  # two batches may have been formed before the high ones were there
    assert statistics.median(at[Priority.NORMAL]) < statistics.median(at[Priority.BULK] or [len(runs)])


def test_all_priorities_get_their_turn_under_load(submitter, start_worker):
    ids = [submitter.submit(priority=priority, text=priority) for _ in range(60) for priority in Priority]
    start_worker("trial_cpu")
    assert {r.state for r in submitter.results(ids)} == {JobState.DONE}
    assert submitter.store.queue_length("trial_cpu") == 0
