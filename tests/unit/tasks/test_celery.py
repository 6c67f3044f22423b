"""The Celery app."""

import ssl

import pytest

from tasks.celery import create_celery
from tasks.settings import Settings


@pytest.fixture
def connect(tmp_path):
    def connect(url):
        env = {"STOKER_HOME": str(tmp_path), "STOKER_BROKER_URL": url, "STOKER_STORE_URL": "redis://store"}
        return create_celery(Settings.from_env(env, tmp_path), {}).connection_for_read()

    return connect


def test_certificate_of_a_broker_and_its_hosts_name_are_checked(connect):
    options = connect("rediss://broker:6380/0").ssl
    assert options["ssl_cert_reqs"] is ssl.CERT_REQUIRED and options["ssl_check_hostname"]
    options = connect("amqps://broker").ssl
    assert options["cert_reqs"] is ssl.CERT_REQUIRED and "server_hostname" in options


def test_broker_in_the_house_needs_no_certificate(connect):
    assert not connect("redis://broker").ssl and not connect("amqp://broker").ssl
