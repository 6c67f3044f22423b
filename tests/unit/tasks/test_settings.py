"""How an installation is configured."""

from pathlib import Path

import pytest

from schemas import SHIPPED, SHIPPED_IMAGE, MediaLimits
from tasks.errors import SettingsError
from tasks.settings import Settings


def read(tmp_path, environ=None, toml=None):
    if toml is not None:
        (tmp_path / "stoker.toml").write_text(toml)
    return Settings.from_env(environ or {}, cwd=tmp_path)


def problems(*args, **kwargs):
    with pytest.raises(SettingsError) as caught:
        read(*args, **kwargs)
    return caught.value.problems


def test_defaults_are_an_embedded_installation_on_loopback(tmp_path):
    settings = read(tmp_path)
    assert settings.embedded and settings.host == "127.0.0.1" and settings.port == 7777
    assert settings.home == tmp_path / ".stoker"
    assert settings.broker_url == f"redis+socket://{tmp_path}/.stoker/redis.sock"
    assert settings.store_url == f"unix://{tmp_path}/.stoker/redis.sock"


def test_metrics_are_off_and_on_loopback_unless_told_otherwise(tmp_path):
    settings = read(tmp_path)
    assert (settings.metrics_host, settings.metrics_port) == ("127.0.0.1", 0)
    settings = read(tmp_path, {"STOKER_METRICS_HOST": "0.0.0.0", "STOKER_METRICS_PORT": "9601"})
    assert (settings.metrics_host, settings.metrics_port) == ("0.0.0.0", 9601)
    assert problems(tmp_path, {"STOKER_METRICS_PORT": "-1"}) == [
        "STOKER_METRICS_PORT='-1' is not a whole number from 0 to 65535"
    ]


def test_environment_wins_over_the_file(tmp_path):
    settings = read(tmp_path, {"STOKER_PORT": "8001"}, 'STOKER_PORT = 8000\nSTOKER_HOST = "0.0.0.0"\n')
    assert (settings.port, settings.host) == (8001, "0.0.0.0")


def test_all_problems_are_told_at_once_each_with_its_name_and_limits(tmp_path):
    found = problems(tmp_path, {"STOKER_PORT": "70000", "STOKER_LOG_LEVEL": "loud", "STOKER_PROT": "1"})
    assert found == [
        "STOKER_PORT='70000' is not a whole number from 1 to 65535",
        "STOKER_LOG_LEVEL='loud' is none of debug, info, warning, error",
        "STOKER_PROT is no setting; did you mean STOKER_PORT?",
    ]


def test_unknown_name_in_the_file_is_a_problem_too(tmp_path):
    assert "PORT is no setting" in problems(tmp_path, toml="PORT = 1\n")[0]


def test_other_variables_are_none_of_our_business(tmp_path):
    read(tmp_path, {"HOME": "/root", "STOKER_TEST_BROKER": "amqp://x"})


def test_broker_and_store_go_together(tmp_path):
    assert "go together" in problems(tmp_path, {"STOKER_BROKER_URL": "amqp://localhost"})[0]


def test_secret_may_be_in_a_file(tmp_path):
    (tmp_path / "broker").write_text("amqp://user:secret@host//\n")
    environ = {"STOKER_BROKER_URL_FILE": str(tmp_path / "broker"), "STOKER_STORE_URL": "redis://host"}
    settings = read(tmp_path, environ)
    assert settings.broker_url == "amqp://user:secret@host//" and not settings.embedded


def test_secret_given_twice_or_in_no_file_is_a_problem(tmp_path):
    both = problems(tmp_path, {"STOKER_SECRET_KEY": "x", "STOKER_SECRET_KEY_FILE": "/nowhere"})
    assert "are both set" in both[0] and "cannot be read" in both[1]


def test_wrong_url_is_told_without_its_password(tmp_path):
    (found,) = problems(
        tmp_path, {"STOKER_BROKER_URL": "http://u:hunter2@h", "STOKER_STORE_URL": "redis://h"}
    )
    assert "STOKER_BROKER_URL must start with" in found and "hunter2" not in found


def test_home_too_long_for_a_socket_is_told_before_redis_fails(tmp_path):
    assert "shorter path" in problems(tmp_path, {"STOKER_HOME": "/tmp/" + "x" * 120})[0]


def test_broken_file_is_told_with_its_place(tmp_path):
    assert "stoker.toml cannot be read" in problems(tmp_path, toml="STOKER_PORT = = 1")[0]


def test_folders_of_endpoint_files_follow_the_shipped_ones(tmp_path):
    settings = read(tmp_path, {"STOKER_ENDPOINTS": "mine:/abs"})
    assert settings.endpoint_folders[1:] == (tmp_path / "mine", Path("/abs"))
    assert read(tmp_path, {}, 'STOKER_ENDPOINTS = ["a", "b"]\n').endpoint_folders[1:] == (
        tmp_path / "a",
        tmp_path / "b",
    )


def test_the_endpoint_sd_is_offered_where_its_weights_are_named(tmp_path):
    assert SHIPPED_IMAGE not in read(tmp_path).endpoint_folders
    settings = read(tmp_path, {"STOKER_SD_MODEL": "some/model", "STOKER_ENDPOINTS": "mine"})
    assert settings.sd_model == "some/model"
    assert settings.endpoint_folders == (SHIPPED, SHIPPED_IMAGE, tmp_path / "mine")


def test_the_database_is_a_file_at_home_unless_a_url_is_given_as_a_secret(tmp_path):
    assert read(tmp_path).database_url is None
    (tmp_path / "url").write_text("postgresql://u:secret@h/d\n")
    assert read(tmp_path, {"STOKER_DATABASE_URL_FILE": str(tmp_path / "url")}).database_url.endswith("@h/d")
    (found,) = problems(tmp_path, {"STOKER_DATABASE_URL": "mysql://u:hunter2@h/d"})
    assert "STOKER_DATABASE_URL must start with" in found and "hunter2" not in found


def test_clients_are_not_limited_unless_a_number_is_given(tmp_path):
    settings = read(tmp_path)
    assert (settings.requests_per_minute, settings.jobs_at_once) == (0, 0)
    settings = read(tmp_path, {"STOKER_REQUESTS_PER_MINUTE": "60", "STOKER_JOBS_AT_ONCE": "5"})
    assert (settings.requests_per_minute, settings.jobs_at_once) == (60, 5)
    assert len(problems(tmp_path, {"STOKER_REQUESTS_PER_MINUTE": "-1", "STOKER_JOBS_AT_ONCE": "many"})) == 2


def test_limits_of_media_are_settings(tmp_path):
    assert read(tmp_path).media_limits == MediaLimits()
    environ = {"STOKER_IMAGE_FORMATS": "JPEG:png", "STOKER_MEDIA_MAX_PIXELS": "1000000"}
    limits = read(tmp_path, environ, 'STOKER_VIDEO_FORMATS = ["mp4"]\n').media_limits
    assert limits == MediaLimits(image_formats=("jpeg", "png"), video_formats=("mp4",), max_pixels=1_000_000)
    assert problems(tmp_path, {"STOKER_AUDIO_FORMATS": "wav:midi", "STOKER_MEDIA_MAX_ITEMS": "0"}) == [
        "STOKER_AUDIO_FORMATS: 'midi' is none of wav, mp3, ogg, flac, m4a, webm",
        "STOKER_MEDIA_MAX_ITEMS='0' is not a whole number from 1 to 1000",
    ]
    assert "'' is none of" in problems(tmp_path, {"STOKER_IMAGE_FORMATS": ":"})[0]


def test_outgoing_requests_go_to_public_servers_of_the_web_unless_told_otherwise(tmp_path):
    default = Settings.from_env({}, cwd=tmp_path).outgoing
    assert (default.schemes, default.ports) == ({"https", "http"}, {443, 80})
    assert not default.names and not default.networks
    wanted = {"SCHEMES": "https", "PORTS": "443:8443", "PRIVATE": "files.corp:10.1.0.0/16:[fd00::/8]"}
    told = Settings.from_env(
        {f"STOKER_OUTGOING_{name}": value for name, value in wanted.items()}, cwd=tmp_path
    )
    assert (told.outgoing.schemes, told.outgoing.ports) == ({"https"}, {443, 8443})
    assert told.outgoing.names == {"files.corp"}
    assert list(map(str, told.outgoing.networks)) == ["10.1.0.0/16", "fd00::/8"]
    wrong = {"SCHEMES": "ftp", "PORTS": "443:x", "PRIVATE": "10.0.0.0/99"}
    with pytest.raises(SettingsError) as error:
        Settings.from_env({f"STOKER_OUTGOING_{name}": value for name, value in wrong.items()}, cwd=tmp_path)
    assert [problem.partition(":")[0] for problem in error.value.problems] == [
        "STOKER_OUTGOING_PRIVATE",
        "STOKER_OUTGOING_SCHEMES",
        "STOKER_OUTGOING_PORTS",
    ]


def test_no_other_site_and_no_proxy_is_trusted_unless_it_is_named(tmp_path):
    assert (read(tmp_path).cors_origins, read(tmp_path).trusted_proxies) == ((), ())
    named = {
        "STOKER_CORS_ORIGINS": "https://App.example.org http://localhost:3000",
        "STOKER_TRUSTED_PROXIES": "10.0.0.0/8 ::1",
    }
    settings = read(tmp_path, named)
    assert settings.cors_origins == ("https://app.example.org", "http://localhost:3000")
    assert settings.trusted_proxies == ("10.0.0.0/8", "::1")
    assert read(tmp_path, {"STOKER_CORS_ORIGINS": "*"}).cors_origins == ("*",)
    origins = 'STOKER_CORS_ORIGINS = ["https://a.b", "https://c.d:8443"]'
    listed = read(tmp_path, toml=f'{origins}\nSTOKER_TRUSTED_PROXIES = ["::1", "fe80::/10"]')
    assert listed.cors_origins == ("https://a.b", "https://c.d:8443")
    assert listed.trusted_proxies == ("::1", "fe80::/10")


@pytest.mark.parametrize(
    "origin", ["app.example.org", "https://a.b/", "https://a.b/c", "null", "* https://a.b"]
)
def test_what_is_no_origin_is_a_problem(tmp_path, origin):
    assert all(
        "STOKER_CORS_ORIGINS" in problem for problem in problems(tmp_path, {"STOKER_CORS_ORIGINS": origin})
    )


@pytest.mark.parametrize("network", ["proxy.example.org", "10.0.0.1/8", "10.0.0", "*"])
def test_what_is_no_network_is_a_problem(tmp_path, network):
    (problem,) = problems(tmp_path, {"STOKER_TRUSTED_PROXIES": network})
    assert problem.startswith("STOKER_TRUSTED_PROXIES")


def test_lists_of_the_file_are_what_texts_of_the_environment_are(tmp_path):
    toml = (
        'STOKER_OUTGOING_PRIVATE = ["hooks.local", "[fd00::/8]"]\nSTOKER_OUTGOING_PORTS = ["443", "8443"]\n'
        'STOKER_TRUSTED_PROXIES = ["10.0.0.0/24", "fd00::1"]\nSTOKER_IMAGE_FORMATS = ["PNG", "webp"]\n'
        'STOKER_CORS_ORIGINS = ["https://a.org:8443", "https://b.org"]\nSTOKER_ENDPOINTS = ["one", "two"]\n'
    )
    environ = {
        "STOKER_OUTGOING_PRIVATE": "hooks.local:[fd00::/8]",
        "STOKER_OUTGOING_PORTS": "443:8443",
        "STOKER_TRUSTED_PROXIES": "10.0.0.0/24 fd00::1",
        "STOKER_IMAGE_FORMATS": "PNG:webp",
        "STOKER_CORS_ORIGINS": "https://a.org:8443 https://b.org",
        "STOKER_ENDPOINTS": "one:two",
    }
    from_environment = read(tmp_path, environ)
    assert read(tmp_path, toml=toml) == from_environment
    assert len(from_environment.trusted_proxies) == len(from_environment.cors_origins) == 2


def test_what_a_process_holds_is_no_less_than_one_body(tmp_path):
    (found,) = problems(tmp_path, {"STOKER_MAX_HELD_BYTES": "99", "STOKER_MAX_BODY_SIZE": "100"})
    assert "would never be taken" in found
