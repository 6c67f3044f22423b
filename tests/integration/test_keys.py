"""API keys in a real database, SQLite and PostgreSQL, and the commands that make them."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from click.testing import CliRunner, Result
from sqlalchemy import URL, Connection, inspect, make_url, text

from stoker import main
from tasks.accounts import Grant, KeyCache, KeyStore, Limits
from tasks.accounts.secret import digest_of, new_key
from tasks.database import Database, migrate
from tasks.database.schema import metadata
from tasks.errors import DatabaseOutdated, DatabaseUnavailable, KeyProblems, SettingsError
from tasks.jobs import Priority
from tasks.settings import Settings
from tests.services import BIN, ROOT, PostgreSQL, wait_until

NOW = 1_800_000_000.0
GRANT = Grant("Mobile app", frozenset({"embed", "text"}), Priority.HIGH, Limits(60, 0, 10**12, 7), 3600)
Connect = Callable[..., Database]
Stoker = Callable[..., Result]


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Open databases; they are closed with the test."""
    opened: list[Database] = []

    def open_one(url: URL | str, *, hurried: bool = False) -> Database:
        opened.append(Database(make_url(url), hurried=hurried))
        return opened[-1]

    yield open_one
    for database in opened:
        database.close()


@pytest.fixture
def database(url: URL, connect: Connect) -> Database:
    database = connect(url)
    database.upgrade()
    return database


@pytest.fixture
def keys(database: Database) -> KeyStore:
    return KeyStore(database)


@pytest.fixture
def stoker(stoker_home: Path) -> Stoker:
    """Run a command of `stoker` in an installation of its own."""
    env = {"STOKER_HOME": str(stoker_home)}
    return lambda *arguments, **more: CliRunner().invoke(main, arguments, env=env | more)


def test_a_key_is_kept_with_all_that_was_granted(keys: KeyStore) -> None:
    record, key = keys.add(GRANT, NOW)
    assert keys.all() == [record]
    assert record.digest == digest_of(key)
    client = record.client
    assert (client.id, client.key_id, client.name) == (record.id, record.id, "Mobile app")
    assert (client.endpoints, client.priority, client.limits) == (
        GRANT.endpoints,
        Priority.HIGH,
        GRANT.limits,
    )
    assert (record.created, record.expires, record.revoked, record.last_used) == (NOW, NOW + 3600, None, None)


def test_a_key_for_everything_has_no_list_of_endpoints(keys: KeyStore) -> None:
    keys.add(Grant("x", None), NOW)
    keys.add(Grant("y", frozenset()), NOW + 1)
    assert [record.client.endpoints for record in keys.all()] == [None, frozenset()]
    assert keys.all()[0].expires is None and keys.all()[0].client.limits == Limits(None, None)


def test_no_key_can_be_read_out_of_the_database(keys: KeyStore, database: Database, url: URL) -> None:
    _, first = keys.add(GRANT, NOW)
    _, second = keys.rotate(first, NOW)
    with database.reading() as connection:
        stored = str([connection.execute(table.select()).all() for table in metadata.sorted_tables])
    assert digest_of(first) in stored
    files = [*Path(url.database).parent.glob("stoker.db*")] if url.get_backend_name() == "sqlite" else []
    written = b"".join(file.read_bytes() for file in files)
    for key in (first, second):
        secret = key.rpartition("_")[2] if key.count("_") == 2 else key.split("_", 2)[2]
        assert secret not in stored and secret.encode() not in written


def test_keys_are_revoked_together_or_not_at_all(keys: KeyStore) -> None:
    first, second = (keys.add(GRANT, NOW)[0] for _ in range(2))
    unknown = new_key()[0]
    with pytest.raises(KeyProblems) as caught:
        keys.revoke([first.id, unknown, "hunter2"], NOW)
    assert len(caught.value.problems) == 2
    assert unknown in caught.value.problems[0] and "hunter2" not in str(caught.value)
    assert [record.state(NOW) for record in keys.all()] == ["active", "active"]
    revoked = keys.revoke([first.id, second.id, first.id], NOW + 1)
    assert {record.revoked for record in revoked} == {NOW + 1}
    keys.revoke([first.id], NOW + 2)
    assert {record.revoked for record in keys.all()} == {NOW + 1}


def test_a_rotated_key_is_another_key_of_the_same_client(keys: KeyStore) -> None:
    old, _ = keys.add(GRANT, NOW)
    new, key = keys.rotate(old.id, NOW + 100)
    assert (new.client.id, new.client.limits) == (old.client.id, old.client.limits)
    assert new.id != old.id and new.digest == digest_of(key)
    assert (new.created, new.expires) == (NOW + 100, NOW + 3700)
    third, _ = keys.rotate(new.id, NOW + 200, overlap=60)
    assert third.client.id == old.client.id
    assert [record.state(NOW + 230) for record in keys.all()] == ["revoked", "active", "active"]
    assert [record.state(NOW + 260) for record in keys.all()] == ["revoked", "expired", "active"]


def test_an_overlap_prolongs_no_key(keys: KeyStore) -> None:
    old, _ = keys.add(GRANT, NOW)
    keys.rotate(old.id, NOW + 3590, overlap=60)
    assert keys.all()[0].expires == NOW + 3600


def test_a_revoked_key_is_not_rotated_back_to_life(keys: KeyStore) -> None:
    old, _ = keys.add(GRANT, NOW)
    keys.revoke([old.id], NOW)
    with pytest.raises(KeyProblems, match="was revoked"):
        keys.rotate(old.id, NOW)
    assert len(keys.all()) == 1


def test_every_change_of_a_key_is_counted_and_its_use_is_not(keys: KeyStore) -> None:
    seen = [keys.changes()]
    record, _ = keys.add(GRANT, NOW)
    seen.append(keys.changes())
    new, _ = keys.rotate(record.id, NOW)
    seen.append(keys.changes())
    keys.revoke([new.id], NOW)
    seen.append(keys.changes())
    assert seen == sorted(set(seen))
    keys.touch({new.id: NOW})
    assert keys.changes() == seen[-1]
    with pytest.raises(KeyProblems):
        keys.revoke(["nope"], NOW)
    assert keys.changes() == seen[-1]


def test_the_last_use_never_goes_back(keys: KeyStore) -> None:
    records = [keys.add(GRANT, NOW + number)[0] for number in range(3)]
    keys.touch({records[0].id: NOW + 5, records[1].id: NOW + 5})
    keys.touch({records[0].id: NOW + 1, records[1].id: NOW + 9})
    assert [record.last_used for record in keys.all()] == [NOW + 5, NOW + 9, None]


@pytest.mark.usefixtures("database")
def test_many_processes_change_keys_at_once_and_none_is_lost(url: URL, connect: Connect) -> None:
    stores = [KeyStore(connect(url)) for _ in range(4)]
    before = stores[0].changes()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: stores[number % 4].add(GRANT, NOW), range(40)))
    assert len(stores[0].all()) == 40
    assert stores[0].changes() == before + 40


def test_a_change_that_is_not_committed_yet_is_not_missed(
    url: URL, connect: Connect, database: Database
) -> None:
    record, _ = KeyStore(database).add(GRANT, NOW)
    other = KeyStore(connect(url))
    number, _ = other.snapshot()
    with database.writing() as connection:
        connection.execute(text("UPDATE key_changes SET number = number + 1"))
        connection.execute(text("UPDATE api_keys SET revoked = 1"))
        assert other.changes() == number
    assert other.changes() > number
    assert other.snapshot()[1][record.id].revoked == 1


# -- migrations


def test_migrations_make_the_tables_of_the_schema(database: Database) -> None:
    with database.reading() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
        assert migrate.version(connection) == migrate.HEAD


def test_the_version_that_is_looked_for_is_that_of_the_last_migration() -> None:
    assert ScriptDirectory.from_config(migrate._config()).get_heads() == [migrate.HEAD]


def test_processes_that_start_at_once_do_not_race(url: URL) -> None:
    code = (
        "import sys; from sqlalchemy import make_url; from tasks.database import Database;"
        "input(); print(Database(make_url(sys.argv[1])).upgrade())"
    )
    command = [sys.executable, "-c", code, url.render_as_string(hide_password=False)]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "cwd": ROOT}
    processes = [subprocess.Popen(command, **pipes) for _ in range(4)]
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()
    assert sorted(process.communicate(timeout=60)[0].strip() for process in processes) == ["False"] * 3 + [
        "True"
    ]


def test_processes_that_open_a_new_file_at_once_all_find_its_tables(tmp_path: Path) -> None:
    rounds, apart = 12, 0.12  # s
    code = f"""
import time
import alembic.command  # else it is imported in the first round
from sqlalchemy import URL
from tasks.accounts import KeyStore
from tasks.database import Database
print("here", flush=True)
begin = float(input())
for number in range({rounds}):
    while time.time() < begin + number * {apart}: pass
    url = URL.create("sqlite", database=f"{tmp_path}/{{number}}.db")
    print(KeyStore(Database(url, hurried=True)).changes())
"""
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "cwd": ROOT}
    processes = [subprocess.Popen([sys.executable, "-c", code], **pipes) for _ in range(4)]
    assert [process.stdout.readline() for process in processes] == ["here\n"] * 4
    begin = time.time() + 0.1
    for process in processes:
        process.stdin.write(f"{begin}\n")
        process.stdin.flush()
    assert [process.communicate(timeout=60)[0] for process in processes] == ["0\n" * rounds] * 4


def test_a_sqlite_file_gets_its_tables_by_itself_and_is_its_owners(tmp_path: Path, connect: Connect) -> None:
    old_umask = os.umask(0)
    try:
        keys = KeyStore(connect(f"sqlite:///{tmp_path}/new/stoker.db"))
        keys.add(GRANT, NOW)
    finally:
        os.umask(old_umask)
    assert len(keys.all()) == 1
    for path in [tmp_path / "new", *(tmp_path / "new").iterdir()]:
        assert path.stat().st_mode & 0o077 == 0, path


def test_postgresql_waits_for_the_command(postgresql: PostgreSQL, connect: Connect, stoker: Stoker) -> None:
    url = postgresql.database()
    with pytest.raises(DatabaseOutdated, match="stoker migrate"):
        KeyStore(connect(url)).all()
    refused = stoker("keys", "list", STOKER_DATABASE_URL=url)
    assert refused.exit_code == 2 and "stoker migrate" in refused.stderr
    assert "upgraded" in stoker("migrate", STOKER_DATABASE_URL=url).stdout
    assert "Nothing to do" in stoker("migrate", STOKER_DATABASE_URL=url).stdout
    assert stoker("keys", "list", STOKER_DATABASE_URL=url).exit_code == 0


def test_a_database_of_a_newer_version_is_used_as_it_is(
    keys: KeyStore, database: Database, connect: Connect, url: URL
) -> None:
    keys.add(GRANT, NOW)
    with database.writing() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    newer = connect(url)
    assert len(KeyStore(newer).all()) == 1
    assert newer.upgrade() is False


def test_a_migration_that_fails_leaves_nothing_behind(
    url: URL, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    upgrade = migrate.upgrade

    def fail(connection: Connection) -> None:
        upgrade(connection)
        raise OSError("the power went out")

    monkeypatch.setattr(migrate, "upgrade", fail)
    database = connect(url)
    with pytest.raises(DatabaseUnavailable):
        database.upgrade()
    with database._transaction(writes=False) as connection:
        assert inspect(connection).get_table_names() == []
    monkeypatch.undo()
    assert database.upgrade() is True


# -- a database that is away


def test_a_database_that_cannot_be_opened_is_unavailable(tmp_path: Path, connect: Connect) -> None:
    (tmp_path / "stoker.db").write_bytes(b"this is no database" * 100)
    with pytest.raises(DatabaseUnavailable, match="not a database"):
        KeyStore(connect(f"sqlite:///{tmp_path}/stoker.db")).all()
    with pytest.raises(DatabaseUnavailable) as caught:
        KeyStore(connect("postgresql://stoker:hunter2@127.0.0.1:1/stoker")).all()
    assert "hunter2" not in str(caught.value)


def test_a_writer_does_not_make_readers_wait(tmp_path: Path, connect: Connect) -> None:
    url = f"sqlite:///{tmp_path}/stoker.db"
    keys, hurried = KeyStore(connect(url)), KeyStore(connect(url, hurried=True))
    record, _ = keys.add(GRANT, NOW)
    with closing(sqlite3.connect(tmp_path / "stoker.db", isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        begin = time.monotonic()
        assert len(hurried.all()) == 1
        with pytest.raises(DatabaseUnavailable, match="locked"):
            hurried.touch({record.id: NOW})
        assert time.monotonic() - begin < 1
        writer.execute("ROLLBACK")
    hurried.touch({record.id: NOW})
    assert keys.all()[0].last_used == NOW


def test_keys_survive_a_crash_of_the_server(postgresql: PostgreSQL, connect: Connect) -> None:
    database = connect(postgresql.database())
    database.upgrade()
    keys = KeyStore(database)
    record, key = keys.add(Grant("x", None), time.time())
    cache = KeyCache(keys, refresh=0.05)
    assert cache.find(key)
    postgresql.kill()
    try:
        wait_until(lambda: not _answers(keys), 10, "the end of the server")
        assert cache.find(key)
        with pytest.raises(DatabaseUnavailable):
            cache.find(new_key()[1])
    finally:
        postgresql.start()
    keys.revoke([record.id], time.time())
    wait_until(lambda: cache.find(key) is None, 10, "the cache to see that the key was revoked")
    cache.close()


def _answers(keys: KeyStore) -> bool:
    try:
        keys.changes()
    except DatabaseUnavailable:
        return False
    return True


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("mysql://u:hunter2@h/d", "must start with"),
        ("postgresql://u:hunter2@h:port/d", "not the URL of a database"),
        ("sqlite:///", "names no file"),
        ("sqlite:///:memory:", "names no file"),
    ],
)
def test_a_wrong_url_is_told_without_its_password(tmp_path: Path, url: str, problem: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Database.of(Settings.from_env({"STOKER_DATABASE_URL": url}, cwd=tmp_path))
    assert problem in str(caught.value) and "hunter2" not in str(caught.value)


def test_the_url_may_stand_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(f"sqlite:///{tmp_path}/other.db\n")
    settings = Settings.from_env({"STOKER_DATABASE_URL_FILE": str(tmp_path / "secret")}, cwd=tmp_path)
    with closing(Database.of(settings)) as database:
        KeyStore(database).all()
    assert (tmp_path / "other.db").exists()


# -- the commands


def test_add_prints_the_key_alone_once(stoker: Stoker) -> None:
    added = stoker(
        "keys", "add", "Mobile app", "--endpoint", "embed", "--priority", "bulk", "--expires", "90d"
    )
    assert added.exit_code == 0, added.output
    key = added.stdout.strip()
    assert added.stdout == f"{key}\n" and key.startswith("stk_")
    assert key not in added.stderr and "this once" in added.stderr
    listed = stoker("keys", "list").stdout
    head, row = listed.splitlines()
    assert head.split()[:2] == ["KEY", "CLIENT"]
    for part in (key[:14], "Mobile app", "active", "embed", "bulk", "default"):
        assert part in row
    assert key not in listed


def test_add_tells_all_problems_and_makes_nothing(stoker: Stoker) -> None:
    refused = stoker("keys", "add", "x", "--endpoint", "nope", "--priority", "x", "--jobs-at-once", "-1")
    assert refused.exit_code == 2 and len(refused.stderr.splitlines()) == 3
    assert len(stoker("keys", "list").stdout.splitlines()) == 1


def test_revoke_and_rotate(stoker: Stoker) -> None:
    first = stoker("keys", "add", "x", "--all-endpoints").stdout.strip()
    rotated = stoker("keys", "rotate", first, "--overlap", "1h")
    second = rotated.stdout.strip()
    assert rotated.exit_code == 0 and second != first
    assert stoker("keys", "rotate", "nope").exit_code == 2
    assert "--overlap" in stoker("keys", "rotate", first, "--overlap", "soon").stderr
    revoked = stoker("keys", "revoke", first.split("_")[1], second)
    assert revoked.exit_code == 0 and revoked.stdout.count("is revoked") == 2
    assert second not in revoked.output
    assert stoker("keys", "list").stdout.count("revoked") == 2


def test_commands_import_no_database_before_they_need_it() -> None:
    code = "import stoker, sys; sys.exit('sqlalchemy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
    assert b"keys" in subprocess.run([BIN / "stoker", "--help"], capture_output=True, check=True).stdout
