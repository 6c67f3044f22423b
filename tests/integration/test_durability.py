"""What the embedded Redis has answered survives its death, however slow the disk is."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import redis

from tasks.up.embedded import synced, write_config
from tests.services import Process, wait_until
from tests.services.redisserver import redis_program

SLOW = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <unistd.h>
static void slow(void) { if (!access(getenv("SLOW"), F_OK)) sleep(5); }
int fdatasync(int file) { slow(); return ((int (*)(int))dlsym(RTLD_NEXT, "fdatasync"))(file); }
int fsync(int file) { slow(); return ((int (*)(int))dlsym(RTLD_NEXT, "fsync"))(file); }
"""


@pytest.fixture
def slow_disk(tmp_path: Path) -> Mapping[str, str]:
    """Environment of a program that waits 5 s for each fsync, as soon as the file SLOW is there."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler to make a slow disk with")
    source, library = tmp_path / "slow.c", tmp_path / "slow.so"
    source.write_text(SLOW)
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    return os.environ | {"LD_PRELOAD": str(library), "SLOW": str(tmp_path / "slow")}


@pytest.fixture
def folder(service_folder: Path) -> Iterator[Path]:
    found = service_folder / "durability"
    found.mkdir()
    yield found
    shutil.rmtree(found)


def start(folder: Path, env: Mapping[str, str]) -> tuple[Process, redis.Redis]:
    """Start the embedded server as `stoker up` configures it."""
    write_config(folder / "redis.conf", folder / "redis.sock", folder)
    client = redis.Redis(unix_socket_path=str(folder / "redis.sock"))
    command: list[str | Path] = [redis_program(), folder / "redis.conf"]
    server = Process("Redis", command, env, folder / "log", lambda: answers(client), folder)
    server.wait_ready(20)
    return server, client


def answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.RedisError:
        return False


def test_a_server_that_is_killed_loses_nothing_on_a_slow_disk(
    folder: Path, slow_disk: Mapping[str, str]
) -> None:
    server, client = start(folder, slow_disk)
    Path(slow_disk["SLOW"]).touch()
    written, end = 0, time.monotonic() + 2
    while time.monotonic() < end:  # the second in which `everysec` waits for its first fsync is among them
        client.set(f"key{written}", "x" * 100)
        written += 1
    client.close()
    server.close()  # by SIGKILL
    server, client = start(folder, os.environ)
    try:
        assert client.dbsize() == written > 1000
    finally:
        client.close()
        server.close()


def test_the_disk_has_all_a_moment_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "appendonlydir").mkdir()
    file = tmp_path / "appendonlydir" / "appendonly.aof.1.incr.aof"
    file.write_text("SET")
    seen: list[str] = []
    monkeypatch.setattr(os, "fdatasync", lambda open_: seen.append(os.readlink(f"/proc/self/fd/{open_}")))
    with synced(tmp_path, interval=0.01):
        wait_until(lambda: len(seen) > 2, 5, "the file to be synced")
        file.unlink()  # Redis does so after a rewrite
        (tmp_path / "appendonly.aof").write_text("SET")  # of Redis 6, which has no folder for it
        wait_until(lambda: str(tmp_path / "appendonly.aof") in seen, 5, "the other file to be synced")
    assert str(file) in seen
