from __future__ import annotations

from pathlib import Path

import pytest

from tasks.up import embedded
from tasks.up.embedded import Version, find_server, write_config
from tasks.up.errors import UpError

REDIS_62 = "Redis server v=6.2.14 sha=40305114:0 malloc=libc bits=64 build=dff95a8e7a99d269"
VALKEY_80 = "Valkey server v=8.0.1 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64 build=abc"


@pytest.fixture
def servers(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Path, Version]]:
    """The servers of this machine, best first; a test fills it."""
    found: list[tuple[Path, Version]] = []
    monkeypatch.setattr(embedded, "_candidates", lambda: [path for path, _ in found])
    monkeypatch.setattr(embedded, "_versions", lambda paths: [(p, v) for p, v in found if p in paths])
    return found


@pytest.mark.parametrize(
    ("text", "version"),
    [
        (REDIS_62, Version("redis", (6, 2, 14))),
        (VALKEY_80, Version("valkey", (8, 0, 1))),
        ("redis 7.0.15\n", Version("redis", (7, 0, 15))),
        ("valkey 8.0.1\n", Version("valkey", (8, 0, 1))),
        ("bash: no such file", None),
    ],
)
def test_versions_are_read(text: str, version: Version | None) -> None:
    assert Version.parse(text) == version
    assert version is None or Version.parse(str(version)) == version


def test_first_server_is_taken_and_noted(servers: list[tuple[Path, Version]], tmp_path: Path) -> None:
    servers += [(Path("new"), Version("redis", (7, 0, 15))), (Path("old"), Version("redis", (6, 2, 14)))]
    assert find_server(tmp_path) == Path("new")
    assert (tmp_path / "server-version").read_text() == "redis 7.0.15\n"


def test_older_server_never_opens_newer_data(servers: list[tuple[Path, Version]], tmp_path: Path) -> None:
    servers.append((Path("old"), Version("redis", (6, 2, 14))))
    (tmp_path / "server-version").write_text("redis 7.0.15\n")
    with pytest.raises(UpError, match=r"written by redis 7\.0\.15, and here is only redis 6\.2\.14"):
        find_server(tmp_path)


def test_other_product_never_opens_the_data(servers: list[tuple[Path, Version]], tmp_path: Path) -> None:
    servers += [(Path("valkey"), Version("valkey", (8, 0, 1))), (Path("redis"), Version("redis", (7, 0, 2)))]
    (tmp_path / "server-version").write_text("redis 7.0.15\n")
    assert find_server(tmp_path) == Path("redis")


def test_no_server_says_what_to_install(servers: list[tuple[Path, Version]], tmp_path: Path) -> None:
    with pytest.raises(UpError, match="apt install redis-server"):
        find_server(tmp_path)


def test_config_quotes_paths_and_opens_no_port(tmp_path: Path) -> None:
    path = tmp_path / "redis.conf"
    write_config(path, Path('/a "b" c/redis.sock'), Path("/a b"))
    lines = path.read_text().splitlines()
    assert {"port 0", r'unixsocket "/a \"b\" c/redis.sock"', 'dir "/a b"', "unixsocketperm 600"} <= set(lines)
