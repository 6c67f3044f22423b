from __future__ import annotations

import dataclasses
import socket
import stat
from pathlib import Path

import pytest

from tasks.settings import Settings
from tasks.up.checks import check_machine, only_one, prepare_home
from tasks.up.errors import UpError
from tasks.up.programs import ROOT


@pytest.fixture
def free(settings: Settings) -> Settings:
    """Settings with two free ports."""
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
        ports = one.getsockname()[1], two.getsockname()[1]
    return dataclasses.replace(settings, port=ports[0], flower_port=ports[1])


def problems(settings: Settings, start: Path, **metrics_ports: int) -> list[str]:
    with pytest.raises(UpError) as error:
        check_machine(settings, metrics_ports, start, ROOT)
    return error.value.problems


def test_free_ports_and_an_own_folder_are_fine(free: Settings, tmp_path: Path) -> None:
    check_machine(free, {}, tmp_path, ROOT)
    check_machine(free, {}, ROOT, ROOT)


def test_taken_port_is_named_with_its_setting(free: Settings, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", free.flower_port)):
        (problem,) = problems(free, tmp_path)
    assert problem == (
        f"Flower cannot listen on port {free.flower_port} of 127.0.0.1 (address already in use): "
        "set STOKER_FLOWER_PORT to another port."
    )


def test_foreign_address_is_named_with_its_setting(free: Settings, tmp_path: Path) -> None:
    (problem,) = problems(dataclasses.replace(free, host="192.0.2.1"), tmp_path)
    assert "STOKER_HOST" in problem


def test_one_port_for_both_is_refused(free: Settings, tmp_path: Path) -> None:
    (problem,) = problems(dataclasses.replace(free, flower_port=free.port), tmp_path)
    assert problem == (
        f"the API and Flower cannot both have port {free.port}: change STOKER_PORT or STOKER_FLOWER_PORT."
    )


def test_metrics_of_every_worker_need_a_free_port_of_their_own(free: Settings, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        found = problems(free, tmp_path, a=free.flower_port, b=port, c=65536)
    assert found == [
        f"Flower and the metrics of worker-a cannot both have port {free.flower_port}: "
        "change STOKER_FLOWER_PORT or STOKER_METRICS_PORT.",
        f"the metrics of worker-b cannot listen on port {port} of 127.0.0.1 (address already in use): "
        "set STOKER_METRICS_PORT to another port.",
        "there is no port 65536 for the metrics of worker-c: set STOKER_METRICS_PORT to a lower one.",
    ]


@pytest.mark.parametrize("name", ["app/x", "workers.py"])
def test_folder_that_hides_our_packages_is_refused(free: Settings, tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).touch()
    (problem,) = problems(free, tmp_path)
    assert "hides Stoker's own package" in problem


def test_home_is_made_for_its_owner_only(home: Path) -> None:
    prepare_home(home)
    assert {stat.S_IMODE(path.stat().st_mode) for path in (home, *home.iterdir())} == {0o700}
    home.chmod(0o755)
    (home / "up.lock").touch()
    prepare_home(home)
    assert stat.S_IMODE(home.stat().st_mode) == 0o700


def test_foreign_folder_is_not_taken_as_home(home: Path) -> None:
    home.mkdir(mode=0o755)
    (home / "letters").touch()
    with pytest.raises(UpError, match="open to other users"):
        prepare_home(home)
    assert stat.S_IMODE(home.stat().st_mode) == 0o755


def test_home_below_a_file_is_refused(home: Path) -> None:
    home.touch()
    with pytest.raises(UpError, match="Set STOKER_HOME to a folder of yours"):
        prepare_home(home / "deeper")


def test_second_start_is_refused_and_a_later_one_is_not(home: Path) -> None:
    prepare_home(home)
    with only_one(home), pytest.raises(UpError, match=r"runs already .* \(process \d+\)"), only_one(home):
        pass
    with only_one(home):
        pass


def test_start_is_refused_while_an_ended_one_still_stops(home: Path) -> None:
    prepare_home(home)
    with only_one(home):
        (home / "up.lock").write_text("999999999\n")
        with pytest.raises(UpError, match="still stopping"), only_one(home):
            pass
