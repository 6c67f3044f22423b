from __future__ import annotations

from pathlib import Path

import pytest

from tasks.up.programs import Program
from tasks.up.supervisord import Event
from tasks.up.watch import Watch, tail

API = Program("api", ("api",), 300, 3, 30, essential=True)
WORKER = Program("worker-a", ("worker",), 200, 10, 30)


@pytest.fixture
def watch(tmp_path: Path) -> Watch:
    return Watch([WORKER, API], tmp_path)


def ended(program: str) -> Event:
    return Event("ended", program, "exit status 1")


def test_reason_of_an_end_is_shown_from_the_log(watch: Watch, tmp_path: Path) -> None:
    (tmp_path / "worker-a.log").write_text("loading\nno such GPU\n\n")
    assert list(watch.see(ended("worker-a"))) == [
        "worker-a ended (exit status 1) and is started again.",
        f"The end of {tmp_path / 'worker-a.log'}:",
        "  | loading",
        "  | no such GPU",
    ]


def test_same_reason_is_shown_once(watch: Watch, tmp_path: Path) -> None:
    log = tmp_path / "worker-a.log"
    log.write_text("10:00:01 no such GPU\n")
    list(watch.see(ended("worker-a")))
    log.write_text("10:00:01 no such GPU\n10:00:09 no such GPU\n")
    assert len(list(watch.see(ended("worker-a")))) == 1
    log.write_text("10:00:20 out of memory\n")
    assert "  | 10:00:20 out of memory" in list(watch.see(ended("worker-a")))


def test_first_start_is_silent_and_a_recovery_is_told(watch: Watch) -> None:
    assert list(watch.see(Event("started", "api"))) == []
    list(watch.see(ended("api")))
    assert list(watch.see(Event("started", "api"))) == ["api runs again."]


def test_essential_program_that_fails_three_times_is_hopeless(watch: Watch) -> None:
    for _ in range(2):
        list(watch.see(ended("api")))
        assert watch.hopeless is None
    list(watch.see(ended("api")))
    assert watch.hopeless == "api"


def test_worker_is_never_given_up(watch: Watch) -> None:
    for _ in range(10):
        list(watch.see(ended("worker-a")))
    assert watch.hopeless is None


def test_nothing_is_hopeless_once_it_was_ready(watch: Watch) -> None:
    watch.ready = True
    for _ in range(10):
        list(watch.see(ended("api")))
    assert watch.hopeless is None


def test_tail_of_a_long_log_is_its_last_ten_lines(tmp_path: Path) -> None:
    path = tmp_path / "long.log"
    path.write_text("".join(f"{n} {'x' * 200}\n" for n in range(1000)))
    assert [line.split()[0] for line in tail(path)] == [str(n) for n in range(990, 1000)]


def test_tail_of_a_missing_log_is_empty(tmp_path: Path) -> None:
    assert tail(tmp_path / "none.log") == []
