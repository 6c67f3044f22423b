"""What holds for every model host: the process that workers use, and the thread beside it for comparison."""

from __future__ import annotations

import os
import queue
import signal
import threading

import pytest

from tests.services import ROOT
from tests.services.threadhost import ThreadHost
from workers.host import ProcessHost
from workers.messages import Cancel, Died, Done, Dropped, Item, Jobs, LoadFailed, Ready, Recall, Started, Stop

WAIT = 20


@pytest.fixture(params=[ProcessHost, ThreadHost])
def host_class(request):
    return request.param


class Talk:
    """A host and what it said."""

    def __init__(self, host_class, queues):
        self.said = queue.SimpleQueue()
        self.host = host_class(queues, self.said.put)

    def next(self, kind):
        message = self.said.get(timeout=WAIT)
        assert isinstance(message, kind), message
        return message

    def jobs(self, *inputs, first=1):
        items = [
            Item(n, f"job{n}", "trial", {"action": "echo", "text": "", "seconds": 0.0} | values)
            for n, values in enumerate(inputs, first)
        ]
        self.host.send(Jobs(items))


@pytest.fixture
def talk(host_class, monkeypatch, tmp_path):
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("STOKER_HOME", str(tmp_path))
    monkeypatch.setenv("STOKER_ENDPOINTS", str(ROOT / "tests" / "data" / "endpoints"))
    talk = Talk(host_class, ["trial_cpu"])
    yield talk
    talk.host.kill()


def test_jobs_are_started_and_done(talk):
    talk.jobs({"text": "a"}, {"text": "b"})  # before it is ready
    assert talk.next(Ready).description["model"]["label"] == "Trial"
    assert talk.next(Started).numbers == [1, 2]
    assert [o.outputs["text"] for o in talk.next(Done).outcomes] == ["a", "b"]


def test_what_waits_can_be_recalled_while_the_model_runs(talk):
    talk.jobs({"action": "sleep", "seconds": 0.5})
    talk.next(Ready)
    talk.next(Started)
    talk.jobs({}, {}, first=2)
    talk.host.send(Recall([2]))
    assert talk.next(Dropped).numbers == [2]
    talk.next(Done)
    assert talk.next(Started).numbers == [3]


def test_running_job_sees_that_it_is_canceled(talk):
    talk.jobs({"action": "report", "seconds": 10.0})
    talk.next(Ready)
    talk.next(Started)
    talk.host.send(Cancel([1]))
    while not isinstance(message := talk.said.get(timeout=WAIT), Done):
        pass
    assert message.outcomes[0].error == "canceled"


def test_death_is_the_last_word_after_a_stop(talk):
    talk.next(Ready)
    talk.host.send(Stop())
    talk.next(Died)
    assert talk.said.empty()


def test_death_is_the_last_word_after_a_kill(talk):
    talk.next(Ready)
    talk.host.kill()
    talk.next(Died)


def test_model_that_cannot_be_loaded_is_told_with_its_reason(host_class, monkeypatch, tmp_path):
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("STOKER_HOME", str(tmp_path))
    monkeypatch.setenv("STOKER_ENDPOINTS", str(tmp_path))
    (tmp_path / "broken.toml").write_text(
        '[ENDPOINT]\nname = "broken"\n[WORKER]\nqueue = "broken"\nmodel = "tests.data.models:Unloadable"\n'
    )
    talk = Talk(host_class, ["broken"])
    assert "no weights in /nowhere" in talk.next(LoadFailed).reason
    talk.next(Died)


@pytest.mark.parametrize("host_class", [ProcessHost], indirect=True)
def test_host_that_does_not_read_keeps_nobody_waiting_and_misses_nothing(talk):
    talk.next(Ready)
    texts = [f"{n:02}" * 25_000 for n in range(64)]  # too much for the pipe

    def send():
        for number, text in enumerate(texts, 1):
            talk.jobs({"text": text}, first=number)

    os.kill(talk.host.pid, signal.SIGSTOP)
    sender = threading.Thread(target=send, daemon=True)
    sender.start()
    sender.join(WAIT)
    assert not sender.is_alive()
    os.kill(talk.host.pid, signal.SIGCONT)
    outcomes = {}
    while len(outcomes) < len(texts):
        message = talk.said.get(timeout=WAIT)
        if isinstance(message, Done):
            outcomes |= {outcome.number: outcome.outputs["text"] for outcome in message.outcomes}
    assert outcomes == dict(enumerate(texts, 1))
