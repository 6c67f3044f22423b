"""What the files of docker/ and setup.cfg say fits what they speak of."""

from __future__ import annotations

import configparser
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tasks.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
DOCKER = ROOT / "docker"
GUNICORN = ROOT / "tasks" / "gunicorn.py"
SECRETS = ("RABBITMQ_PASSWORD", "REDIS_PASSWORD", "STOKER_SECRET_KEY", "STOKER_FLOWER_PASSWORD")


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    text: dict[str, Any] = yaml.safe_load((DOCKER / "compose.yaml").read_text())
    return text


def seconds(duration: str) -> int:
    return int(duration.removesuffix("s"))


def test_only_nginx_can_be_reached_from_outside(compose: dict[str, Any]) -> None:
    assert [name for name, service in compose["services"].items() if "ports" in service] == ["nginx"]


def test_every_service_that_stays_is_restarted_and_watched(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        if name != "policies":
            assert service["restart"] == "unless-stopped", name
            assert "healthcheck" in service, name


def test_no_secret_has_a_default() -> None:
    text = (DOCKER / "compose.yaml").read_text()
    for name in SECRETS:
        uses = re.findall(rf"\$\{{{name}(.*?)\}}", text)
        assert uses
        assert all(use.startswith(":?") for use in uses), name


def test_mounted_files_exist(compose: dict[str, Any]) -> None:
    for service in compose["services"].values():
        for volume in service.get("volumes", []):
            source = volume.partition(":")[0]
            if source.startswith("."):
                assert (DOCKER / source).exists(), source
            else:
                assert source in compose["volumes"]


def test_container_of_the_api_is_more_patient_than_gunicorn(compose: dict[str, Any]) -> None:
    more = re.search(r"^graceful_timeout = _settings.max_wait \+ (\d+)$", GUNICORN.read_text(), re.MULTILINE)
    graceful = Settings.from_env({}).max_wait + int(more[1])
    assert seconds(compose["services"]["api"]["stop_grace_period"]) > graceful


def test_redis_writes_before_it_answers_and_syncs_beside(compose: dict[str, Any]) -> None:
    command = " ".join(compose["services"]["redis"]["command"])
    assert "--appendonly yes --appendfsync no " in command
    assert "while sleep 1; do sync -d /data/appendonlydir/*.aof" in command


def test_nginx_closes_idle_connections_before_gunicorn_does() -> None:
    kept = re.search(r"keepalive_timeout (\d+)s", (DOCKER / "nginx.d" / "upstream.conf").read_text())
    held = re.search(r"^keepalive = (\d+) ", GUNICORN.read_text(), re.MULTILINE)
    assert int(kept[1]) < int(held[1])


def test_dockerfiles_copy_what_exists_and_do_not_run_as_root() -> None:
    for path in DOCKER.glob("*.Dockerfile"):
        text = path.read_text()
        assert re.findall(r"^USER (\S+)$", text, re.MULTILINE) == ["stoker"]
        for line in re.findall(r"^COPY (?!--)(.*)$", text, re.MULTILINE):
            *sources, _ = line.split()
            assert all((ROOT / source).exists() for source in sources), line


def test_policies_spare_the_queues_of_celery_itself() -> None:
    policies = {
        p["name"]: p for p in json.loads((DOCKER / "rabbitmq" / "policies.json").read_text())["policies"]
    }
    jobs = re.compile(policies["jobs"]["pattern"])
    assert jobs.search("embed_cpu")
    for name in ("celery@host.celery.pidbox", "celeryev.1f", "amq.gen-x", "stoker.dead", "celery_delayed_0"):
        assert not jobs.search(name)


def test_every_package_is_installed() -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    listed = set(config["options"]["packages"].split()) - {"stoker_client"}
    found = {
        ".".join(file.parent.relative_to(ROOT).parts)
        for top in ("app", "schemas", "tasks", "workers")
        for file in (ROOT / top).rglob("__init__.py")
    }
    assert found == listed
