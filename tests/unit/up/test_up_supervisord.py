from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from supervisor.options import ServerOptions

from tasks.up.programs import Program
from tasks.up.supervisord import Event, bound_command, config, parse_event

NASTY = "a b;c #d ;e %f %(here)s 'g' \"h\" \\i $j é"


@pytest.fixture
def groups(home: Path, monkeypatch: pytest.MonkeyPatch) -> list:
    """What supervisord understands of the configuration of three programs."""
    for name in ("run", "log"):
        (home / name).mkdir(parents=True)
    programs = [
        Program("first", ("/bin/echo", NASTY), 100, 1, 15, lock=home / NASTY),
        Program("worker-a.b", ("/bin/true",), 200, 10, 30),
        Program("worker-c", ("/bin/true",), 200, 10, 30),
    ]
    path = home / "run" / "supervisord.conf"
    path.write_text(config(programs, home / NASTY))
    monkeypatch.chdir(home)
    options = ServerOptions()
    options.realize(["-c", str(path)], doc="")
    return sorted(options.process_group_configs)


def test_arguments_reach_the_program_unchanged(groups: list, home: Path) -> None:
    process = groups[0].process_configs[0]
    expected = bound_command(("/bin/echo", NASTY), lock=home / NASTY, folder=home / NASTY)
    arguments = tuple(shlex.split(process.command))
    assert arguments == expected


def test_programs_of_one_priority_stop_together(groups: list) -> None:
    members = [[process.name for process in group.process_configs] for group in groups]
    assert members == [["first"], ["worker-a.b", "worker-c"]]


def test_programs_are_always_started_again_and_logged_by_name(groups: list, home: Path) -> None:
    for group in groups:
        for process in group.process_configs:
            assert process.autorestart.__name__ == "RestartUnconditionally"
            assert process.startretries > 100_000
            assert Path(process.stdout_logfile).resolve() == home / "log" / f"{process.name}.log"


@pytest.mark.parametrize(
    ("line", "kind", "program", "detail"),
    [
        ("INFO success: api entered RUNNING state, process has stayed", "started", "api", ""),
        (
            "WARN exited: redis (terminated by SIGKILL; not expected)",
            "ended",
            "redis",
            "terminated by SIGKILL",
        ),
        ("WARN exited: worker-a.b (exit status 1; not expected)", "ended", "worker-a.b", "exit status 1"),
        ("WARN exited: x (by SIGSEGV (core dumped); not expected)", "ended", "x", "by SIGSEGV (core dumped)"),
        ("INFO exited: api (exit status 0; expected)", "ended", "api", "exit status 0"),
        ("INFO stopped: flower (exit status 0)", "stopped", "flower", ""),
    ],
)
def test_log_lines_become_events(line: str, kind: str, program: str, detail: str) -> None:
    assert parse_event(f"2026-01-01 00:00:00,000 {line}") == Event(kind, program, detail)


@pytest.mark.parametrize("line", ["INFO spawned: 'api' with pid 12", "INFO supervisord started with pid 12"])
def test_other_log_lines_tell_nothing(line: str) -> None:
    assert parse_event(f"2026-01-01 00:00:00,000 {line}") is None
