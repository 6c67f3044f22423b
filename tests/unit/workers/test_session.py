"""Jobs on a continuous model."""

import itertools

import pytest

from schemas import load_endpoints
from workers.loop import ModelLoop, Service
from workers.messages import Cancel, Done, Item, Jobs, Report, Returned, Started, Stop
from workers.models import ContinuousModel, ModelJob
from workers.queueing import Limits
from workers.runner import Runner
from workers.session import Session

ENDPOINT = """
[ENDPOINT]
name = "count"
[WORKER]
queue = "count_cpu"
max_runtime = 60
[INPUTS]
steps = { type = "integer" }
[OUTPUTS]
steps = { type = "integer" }
company = { type = "integer" }
[PROGRESS.OUTPUTS]
step = { type = "integer" }
"""


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("endpoints")
    (folder / "count.toml").write_text(ENDPOINT)
    return load_endpoints([folder])["count"]


class Count(ContinuousModel):
    """Counts to `steps`; -1 cannot be admitted, -2 breaks each step that it is in, -3 runs out of memory."""

    def __init__(self):
        self.running, self.most, self.released = [], 0, 0
        self.after_step = lambda: None

    def admit(self, job):
        if job["steps"] == -1:
            raise ValueError("no room for it")
        self.running.append((job, itertools.count(1)))
        self.most = max(self.most, len(self.running))

    def step(self):
        ended = []
        for job, count in self.running:
            if job["steps"] == -2:
                raise ZeroDivisionError("broken step")
            if job["steps"] == -3:
                raise MemoryError
            step = next(count)
            job.report(step, step=step)
            if step == job["steps"]:
                ended.append((job, {"steps": step, "company": len(self.running)}))
        for job, _ in ended:
            self.evict(job)
        self.after_step()
        return ended

    def evict(self, job):
        self.running = [(j, count) for j, count in self.running if j is not job]

    def release_memory(self):
        self.released += 1


class Host:
    """A loop with one continuous model, run to its end on the test's thread."""

    def __init__(self, endpoint, slots=4):
        self.said, self.model, self.now = [], Count(), 0.0
        self.session = Session(self.model, lambda n: self.loop.is_canceled(n), clock=lambda: self.now)
        runner = Runner(endpoint, self.model, lambda *said: self.said.append(Report(*said)))
        service = Service(runner, Limits(slots), self.session)
        self.loop = ModelLoop({"count": service}, self.said.append)

    def jobs(self, *steps, first=1, alone=False):
        numbers = range(first, first + len(steps))
        inputs = [{"steps": n} for n in steps]
        items = [Item(n, f"job{n}", "count", i, alone) for n, i in zip(numbers, inputs, strict=True)]
        self.loop.deliver(Jobs(items))

    def run(self, steps=1000):
        """Run until nothing runs or waits, or the model took so many steps."""
        left = itertools.count(steps - 1, -1)
        stop, before = [], self.model.after_step

        def after_step():
            before()
            if next(left) == 0:
                stop.append(True)

        self.model.after_step = after_step
        while not stop:
            batch = self.loop._next() if self.waits() else None
            if batch is None:
                return
            self.loop._start(batch)
            if self.session.running:
                self.loop._step(self.session)

    def waits(self):
        return self.session.running or self.loop._arrived or len(self.loop._batcher)

    def outcomes(self):
        return {o.number: o for m in self.said if isinstance(m, Done) for o in m.outcomes}

    def order(self):
        return [o.number for m in self.said if isinstance(m, Done) for o in m.outcomes]

    def all(self, kind):
        return [message for message in self.said if isinstance(message, kind)]


def test_short_jobs_admitted_after_a_long_one_finish_before_it(endpoint):
    host = Host(endpoint)
    host.jobs(100)
    host.run(steps=3)
    host.jobs(*[2] * 20, first=2)
    host.run()
    assert host.order() == [*range(2, 22), 1]
    assert [m.together for m in host.all(Started)][:3] == [1, 4, 4]
    assert host.model.most == 4


def test_job_starts_when_it_joins_and_is_done_when_it_leaves(endpoint):
    host = Host(endpoint)
    host.jobs(1, 3)
    host.run()
    kinds = [type(m).__name__ for m in host.said if not isinstance(m, Report)]
    assert kinds == ["Started", "Done", "Done"]
    (started,) = host.all(Started)
    assert started.numbers == [1, 2] and started.max_runtime > 60  # it is asked between two steps first
    assert host.outcomes()[1].outputs == {"steps": 1, "company": 2}


def test_progress_goes_out_at_every_step(endpoint):
    host = Host(endpoint)
    host.jobs(3)
    host.run()
    assert [m.outputs["step"] for m in host.all(Report)] == [1, 2, 3]


def test_canceled_job_leaves_at_the_next_step_and_the_others_go_on(endpoint):
    host = Host(endpoint)
    host.jobs(50, 5)
    host.run(steps=2)
    host.loop.deliver(Cancel([1]))
    host.run()
    assert host.order() == [1, 2] and host.outcomes()[1].error == "canceled"
    assert host.outcomes()[2].outputs["steps"] == 5 and host.model.running == []


def test_job_over_max_runtime_is_evicted_and_failed_and_the_others_go_on(endpoint):
    host = Host(endpoint)
    host.jobs(50)
    host.run(steps=1)
    host.now = 59.0
    host.jobs(50, first=2)
    host.run(steps=1)
    host.now = 60.0
    host.run()
    assert "max_runtime (60 s)" in host.outcomes()[1].error and host.outcomes()[2].error is None


def test_job_that_cannot_be_admitted_fails_alone(endpoint):
    host = Host(endpoint)
    host.jobs(3, -1, 3)
    host.run()
    assert host.outcomes()[2].error == "ValueError: no room for it"
    assert [host.outcomes()[n].error for n in (1, 3)] == [None, None]


def test_after_a_broken_step_each_job_goes_back_to_run_alone(endpoint):
    host = Host(endpoint)
    host.jobs(3, -2, 3)
    host.run()
    assert host.all(Returned) == [Returned([1, 2, 3])] and host.model.running == []
    host.jobs(3, -2, 3, alone=True)
    host.run()
    assert host.outcomes()[2].error == "ZeroDivisionError: broken step"
    assert host.outcomes()[1].outputs == host.outcomes()[3].outputs == {"steps": 3, "company": 1}


def test_memory_is_released_when_a_step_runs_out_of_it(endpoint):
    host = Host(endpoint)
    host.jobs(3, -3)
    host.run()
    assert host.all(Returned) == [Returned([1, 2])] and host.model.released == 1


def test_answer_for_a_job_that_is_not_running_is_an_error(endpoint):
    host = Host(endpoint)
    host.model.step = lambda: [(ModelJob({}), {})]
    host.jobs(3)
    host.run()
    assert "not running" in host.outcomes()[1].error


def test_stop_lets_what_runs_end(endpoint):
    host = Host(endpoint, slots=1)
    host.jobs(4, 4)
    host.run(steps=1)
    host.loop.deliver(Stop())
    host.run()
    assert host.order() == [1]


def test_the_same_model_runs_in_a_script():
    jobs = [ModelJob({"steps": 3}), ModelJob({"steps": 1})]
    assert Count().predict(jobs) == [{"steps": 3, "company": 1}, {"steps": 1, "company": 2}]


def test_an_error_in_a_script_leaves_the_model_empty():
    model = Count()
    with pytest.raises(ZeroDivisionError):
        model.predict([ModelJob({"steps": 3}), ModelJob({"steps": -2})])
    assert model.running == []
