"""Secrets of one installation."""

from concurrent.futures import ThreadPoolExecutor

from tasks.secrets import read_or_create


def test_secret_is_made_once_and_only_its_owner_reads_it(tmp_path):
    path = tmp_path / "home" / "key"
    secret = read_or_create(path)
    assert len(secret) >= 40 and read_or_create(path) == secret
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_who_asks_at_the_same_time_gets_the_same_secret(tmp_path):
    with ThreadPoolExecutor(16) as pool:
        secrets = set(pool.map(lambda _: read_or_create(tmp_path / "key"), range(64)))
    assert len(secrets) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["key"]


def test_secrets_differ(tmp_path):
    assert read_or_create(tmp_path / "a") != read_or_create(tmp_path / "b")
