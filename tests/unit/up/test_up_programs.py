from __future__ import annotations

import dataclasses
import runpy
from pathlib import Path

import pytest

from tasks.settings import Settings
from tasks.up.programs import flower_config, metrics_ports, programs, worker_queues
from tests.unit.up.conftest import MakeEndpoints

REDIS = Path("/usr/bin/redis-server")


def test_each_queue_with_a_model_has_one_worker(settings: Settings, make_endpoints: MakeEndpoints) -> None:
    endpoints = make_endpoints(
        ("a", "one", True, True),
        ("b", "one", True, True),
        ("c", "two", True, True),
        ("d", "elsewhere", False, True),
        ("e", "off", True, False),
    )
    assert worker_queues(endpoints) == ["one", "two"]
    names = [program.name for program in programs(settings, endpoints, REDIS)]
    assert names == ["redis", "worker-one", "worker-two", "webhooks", "api", "flower"]


def test_redis_runs_only_when_it_is_embedded(settings: Settings) -> None:
    assert [program.name for program in programs(settings, {}, None)] == ["webhooks", "api", "flower"]


def test_webhooks_are_sent_unless_the_settings_say_otherwise(settings: Settings) -> None:
    without = dataclasses.replace(settings, webhooks=False)
    assert [program.name for program in programs(without, {}, None)] == ["api", "flower"]


def test_each_worker_serves_its_metrics_on_the_next_port(
    settings: Settings, make_endpoints: MakeEndpoints
) -> None:
    endpoints = make_endpoints(("a", "two", True, True), ("b", "one", True, True), ("c", "x", False, True))
    assert metrics_ports(settings, endpoints) == {}
    settings = dataclasses.replace(settings, metrics_port=9601)
    assert metrics_ports(settings, endpoints) == {"one": 9601, "two": 9602}
    commands = {program.name: program.command for program in programs(settings, endpoints, None)}
    assert commands["worker-one"][2] == "STOKER_METRICS_PORT=9601"
    assert commands["worker-two"][2] == "STOKER_METRICS_PORT=9602"


@pytest.mark.parametrize(("drain", "given"), [(0, 25), (7, 7), (300, 300)])
def test_worker_gives_its_batch_back_before_it_would_be_killed(
    settings: Settings, make_endpoints: MakeEndpoints, drain: int, given: int
) -> None:
    settings = dataclasses.replace(settings, drain_timeout=drain)
    (worker, *_) = programs(settings, make_endpoints(("a", "one", True, True)), None)
    assert worker.command[:2] == ("env", f"STOKER_DRAIN_TIMEOUT={given}")
    assert worker.stop_time > given


def test_api_stops_before_the_workers_and_redis_last(
    settings: Settings, make_endpoints: MakeEndpoints
) -> None:
    found = programs(settings, make_endpoints(("a", "one", True, True)), REDIS)
    in_order_of_stop = [p.name for p in sorted(found, key=lambda program: -program.priority)]
    assert in_order_of_stop == ["flower", "api", "worker-one", "webhooks", "redis"]


def test_api_ends_by_itself_before_it_would_be_killed(settings: Settings) -> None:
    api = next(program for program in programs(settings, {}, None) if program.name == "api")
    patience = int(api.command[api.command.index("--graceful-timeout") + 1])
    assert patience < api.stop_time


def test_redis_never_runs_twice_on_its_data(settings: Settings) -> None:
    redis = programs(settings, {}, REDIS)[0]
    assert redis.lock == settings.home / "redis" / "lock"


def test_commands_hold_no_secret(settings: Settings, make_endpoints: MakeEndpoints) -> None:
    secretive = dataclasses.replace(
        settings,
        secret_key="hush-key",
        flower_password="hush-password",
        broker_url="redis://:hush-broker@host",
        store_url="redis://:hush-store@host",
    )
    found = programs(secretive, make_endpoints(("a", "one", True, True)), None)
    assert "hush" not in str([program.command for program in found])


def test_flower_config_holds_any_password(tmp_path: Path) -> None:
    path = tmp_path / "flower.py"
    path.write_text(flower_config('it\'s "quoted" \\ and {braced}'))
    values = runpy.run_path(str(path))
    assert values["basic_auth"] == ['stoker:it\'s "quoted" \\ and {braced}']
