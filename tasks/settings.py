"""How this installation runs: the only reader of the environment.

Every setting has one name, `STOKER_<NAME>`. It stands in the environment or in a file `stoker.toml`
of the current folder, under the same name; the environment wins. A secret may be given by file:
`STOKER_BROKER_URL_FILE=/run/secrets/broker` and so on.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path
from typing import Any
from urllib.parse import quote

from schemas import SHIPPED, SHIPPED_IMAGE, MediaLimits
from tasks.errors import SettingsError
from tasks.guard.rules import DEFAULT_PORTS, Rules, read_private
from tasks.secrets import read_or_create

PREFIX = "STOKER_"
SECRETS = (
    "STOKER_BROKER_URL",
    "STOKER_STORE_URL",
    "STOKER_DATABASE_URL",
    "STOKER_SECRET_KEY",
    "STOKER_FLOWER_PASSWORD",
)
OTHER_READERS = ("STOKER_TEST_BROKER",)  # known here, read by the test suite
MOST_PIXELS = 178_956_970  # of one image: Pillow takes no more
WEBHOOK_DELAYS = "5:300:1800:7200:18000:36000:36000"  # s; of Standard Webhooks, over somewhat more than a day
LONGEST_SOCKET_PATH = 107  # bytes; sun_path of Linux's unix(7), less its closing zero
BROKERS = ("amqp://", "amqps://", "redis://", "rediss://", "redis+socket://")
STORES = ("redis://", "rediss://", "unix://")
SPACED = ("STOKER_CORS_ORIGINS", "STOKER_TRUSTED_PROXIES")  # lists whose items have colons
ORIGIN = re.compile(r"https?://([a-z0-9.-]+|\[[0-9a-f:]+\])(:[0-9]{1,5})?")
DATABASES = ("sqlite:///", "postgresql://", "postgresql+psycopg://")


@dataclass(frozen=True)
class Settings:
    """The settings of one installation.

    Attributes:
        home: folder of all that belongs to the installation (secrets, embedded data).
        host: address that the API listens on.
        port: port of the API.
        flower_host: address that Flower listens on.
        flower_port: port of Flower.
        metrics_host: address that a worker serves its metrics on.
        metrics_port: port of a worker's metrics; 0: it serves none.
        broker_url: amqp:// or redis:// URL of the broker.
        store_url: redis:// URL of the job store.
        database_url: sqlite:/// or postgresql:// URL of the database; None: a SQLite file in `home`.
        embedded: whether broker and store are the Redis server that `stoker up` starts.
        endpoint_folders: folders of endpoint files: the shipped ones, then the user's.
        sd_model: weights of the endpoint `sd`, a folder or a name on the Hugging Face hub; None: it is not
            offered.
        api_processes: number of API processes.
        drain_timeout: how long a worker that was told to stop lets its running batch go on, in seconds,
            before it gives the jobs back; 0: as long as it takes.
        log_level: debug, info, warning or error.
        secret_key: signs session keys; None: made on first use in `home`.
        flower_password: of Flower's user `stoker`; None: made on first use in `home`.
        max_body_size: largest request body, in bytes.
        max_wait: longest time that a request is held for its result, in seconds.
        media_limits: of images, sounds and videos that are sent in.
        demo_key: whether the key in `home`/demo-key opens every endpoint.
        requests_per_minute: jobs that one key may submit to one endpoint in a minute, unless the key says
            otherwise; 0: any number.
        jobs_at_once: jobs of one key that may wait or run at one endpoint, unless the key or the endpoint
            file says otherwise; 0: any number.
        bytes_per_day: bytes of inputs that one key may send to one endpoint in a day, unless the key or the
            endpoint file says otherwise; 0: any number.
        seconds_per_day: seconds of a model's time that one key may use at one endpoint in a day; the same.
        usage_days: how long it is kept what each job has used.
        outgoing: which servers may be asked on behalf of a client.
        webhooks: whether clients' servers are told of their jobs.
        webhook_delays: seconds between the attempts to tell one.
        cors_origins: sites whose pages may call from a browser, as https://app.example.org; `*`: all of them.
        trusted_proxies: addresses or networks whose X-Forwarded-For and X-Forwarded-Proto are believed.
        upload_lifetime: seconds that an upload is kept.
        uploads_per_key: uploads that one key may have at a time.
        upload_bytes_per_key: bytes of all uploads of one key.
        max_queued_bytes: bytes of the jobs that wait or run at one endpoint, unless its file says otherwise;
            0: any number.
    """

    home: Path
    host: str
    port: int
    flower_host: str
    flower_port: int
    metrics_host: str
    metrics_port: int
    broker_url: str
    store_url: str
    database_url: str | None
    embedded: bool
    endpoint_folders: tuple[Path, ...]
    sd_model: str | None
    api_processes: int
    drain_timeout: int
    log_level: str
    secret_key: str | None
    flower_password: str | None
    max_body_size: int
    max_wait: int
    media_limits: MediaLimits
    demo_key: bool
    requests_per_minute: int
    jobs_at_once: int
    bytes_per_day: int
    seconds_per_day: int
    usage_days: int
    outgoing: Rules
    webhooks: bool
    webhook_delays: tuple[int, ...]
    cors_origins: tuple[str, ...]
    trusted_proxies: tuple[str, ...]
    upload_lifetime: int
    uploads_per_key: int
    upload_bytes_per_key: int
    max_queued_bytes: int

    @property
    def redis_socket(self) -> Path:
        """Unix socket of the embedded Redis server."""
        return self.home / "redis.sock"

    @property
    def demo_key_file(self) -> Path:
        """File of the generated demo key."""
        return self.home / "demo-key"

    def installation_secret(self) -> str:
        """Give what signs session keys and makes the secrets of webhooks; make it first if there is none.

        Raises:
            OSError: it can be neither read nor made.
        """
        return self.secret_key or read_or_create(self.home / "secret-key")

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None, cwd: Path | None = None) -> Settings:
        """Read the settings from the environment and `stoker.toml`.

        Args:
            environ: the environment; default: the process's own.
            cwd: folder of `stoker.toml` and of relative paths; default: the current one.

        Raises:
            SettingsError: with every wrong or unknown setting, one sentence each.
        """
        return _Reader(os.environ if environ is None else environ, cwd or Path.cwd()).settings()


class _Reader:
    """Reads settings one by one and collects what is wrong with them."""

    def __init__(self, environ: Mapping[str, str], cwd: Path) -> None:
        self.cwd = cwd
        self.problems: list[str] = []
        self.asked: set[str] = set(OTHER_READERS) | {f"{name}_FILE" for name in SECRETS}
        self.values = self._from_file(cwd / "stoker.toml")
        self.values |= {k: v for k, v in environ.items() if k.startswith(PREFIX) and v != ""}

    def _from_file(self, path: Path) -> dict[str, str]:
        try:
            table = tomllib.loads(path.read_text())
        except FileNotFoundError:
            return {}
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            self.problems.append(f"{path} cannot be read: {error}")
            return {}
        return {key: self._as_text(path, key, value) for key, value in table.items()}

    def _as_text(self, path: Path, key: str, value: Any) -> str:
        if isinstance(value, list) and all(isinstance(item, str) for item in value):
            return (" " if key in SPACED else ":").join(value)
        if isinstance(value, bool):
            return "true" if value else "false"
        if not isinstance(value, str | int | float):
            self.problems.append(
                f"{key} in {path} is a {type(value).__name__}: write a string, number or list"
            )
        return str(value)

    def settings(self) -> Settings:
        home = self._path("STOKER_HOME", ".stoker")
        broker = self._secret("STOKER_BROKER_URL")
        store = self._secret("STOKER_STORE_URL")
        embedded = broker is None and store is None
        if not embedded and (broker is None or store is None):
            self.problems.append("STOKER_BROKER_URL and STOKER_STORE_URL go together: set both or neither")
        socket = home / "redis.sock"
        if embedded and len(os.fsencode(socket)) > LONGEST_SOCKET_PATH:
            self.problems.append(
                f"STOKER_HOME={home} is too long for a Unix socket in it "
                f"({LONGEST_SOCKET_PATH} bytes): choose a shorter path"
            )
        sd_model = self._text("STOKER_SD_MODEL", "") or None
        settings = Settings(
            home=home,
            host=self._text("STOKER_HOST", "127.0.0.1"),
            port=self._number("STOKER_PORT", 7777, 1, 65535),
            flower_host=self._text("STOKER_FLOWER_HOST", "127.0.0.1"),
            flower_port=self._number("STOKER_FLOWER_PORT", 5555, 1, 65535),
            metrics_host=self._text("STOKER_METRICS_HOST", "127.0.0.1"),
            metrics_port=self._number("STOKER_METRICS_PORT", 0, 0, 65535),
            broker_url=self._url(
                "STOKER_BROKER_URL", broker or f"redis+socket://{quote(str(socket))}", BROKERS
            ),
            store_url=self._url("STOKER_STORE_URL", store or f"unix://{quote(str(socket))}", STORES),
            database_url=self._database(),
            embedded=embedded,
            endpoint_folders=(
                SHIPPED,
                *((SHIPPED_IMAGE,) if sd_model else ()),
                *self._folders("STOKER_ENDPOINTS"),
            ),
            sd_model=sd_model,
            api_processes=self._number("STOKER_API_PROCESSES", 1, 1, 256),
            drain_timeout=self._number("STOKER_DRAIN_TIMEOUT", 0, 0, 86_400),
            log_level=self._choice("STOKER_LOG_LEVEL", "info", ("debug", "info", "warning", "error")),
            secret_key=self._secret("STOKER_SECRET_KEY"),
            flower_password=self._secret("STOKER_FLOWER_PASSWORD"),
            max_body_size=self._number("STOKER_MAX_BODY_SIZE", 100_000_000, 1, 2**40),
            max_wait=self._number("STOKER_MAX_WAIT", 600, 1, 86_400),
            media_limits=self._media_limits(),
            demo_key=self._choice("STOKER_DEMO_KEY", "true", ("true", "false")) == "true",
            requests_per_minute=self._number("STOKER_REQUESTS_PER_MINUTE", 0, 0, 10**9),
            jobs_at_once=self._number("STOKER_JOBS_AT_ONCE", 0, 0, 10**9),
            bytes_per_day=self._number("STOKER_BYTES_PER_DAY", 0, 0, 10**15),
            seconds_per_day=self._number("STOKER_SECONDS_PER_DAY", 0, 0, 10**9),
            usage_days=self._number("STOKER_USAGE_DAYS", 90, 1, 36_500),
            outgoing=self._outgoing(),
            webhooks=self._choice("STOKER_WEBHOOKS", "true", ("true", "false")) == "true",
            webhook_delays=tuple(self._numbers("STOKER_WEBHOOK_DELAYS", WEBHOOK_DELAYS, 0, 86_400)),
            cors_origins=self._origins("STOKER_CORS_ORIGINS"),
            trusted_proxies=self._networks("STOKER_TRUSTED_PROXIES"),
            upload_lifetime=self._number("STOKER_UPLOAD_LIFETIME", 3600, 1, 10**6),
            uploads_per_key=self._number("STOKER_UPLOADS_PER_KEY", 100, 1, 1000),
            upload_bytes_per_key=self._number("STOKER_UPLOAD_BYTES_PER_KEY", 500_000_000, 1, 2**40),
            max_queued_bytes=self._number("STOKER_MAX_QUEUED_BYTES", 2_000_000_000, 0, 2**50),
        )
        self._unknown()
        if self.problems:
            raise SettingsError(self.problems)
        return settings

    def _media_limits(self) -> MediaLimits:
        default = MediaLimits()
        numbers = {
            "max_bytes": 2**40,
            "max_pixels": MOST_PIXELS,
            "max_side": 2**16 - 1,
            "max_frames": 10**7,
            "max_seconds": 10**6,
            "max_items": 1000,
        }
        return MediaLimits(
            image_formats=self._words("STOKER_IMAGE_FORMATS", default.image_formats),
            audio_formats=self._words("STOKER_AUDIO_FORMATS", default.audio_formats),
            video_formats=self._words("STOKER_VIDEO_FORMATS", default.video_formats),
            **{
                name: self._number(f"STOKER_MEDIA_{name.upper()}", int(getattr(default, name)), 1, most)
                for name, most in numbers.items()
            },
        )

    def _outgoing(self) -> Rules:
        try:
            names, networks = read_private(self._text("STOKER_OUTGOING_PRIVATE", ""))
        except ValueError as error:
            names, networks = frozenset(), ()
            self.problems.append(
                f"STOKER_OUTGOING_PRIVATE: {str(error)!r} is no host, address or network (IPv6 in brackets)"
            )
        return Rules(
            schemes=frozenset(self._words("STOKER_OUTGOING_SCHEMES", tuple(DEFAULT_PORTS))),
            ports=frozenset(self._numbers("STOKER_OUTGOING_PORTS", "443:80", 1, 65535)),
            names=names,
            networks=networks,
        )

    def _text(self, name: str, default: str) -> str:
        self.asked.add(name)
        return self.values.get(name, default)

    def _path(self, name: str, default: str) -> Path:
        return (self.cwd / Path(self._text(name, default)).expanduser()).resolve()

    def _folders(self, name: str) -> list[Path]:
        return [(self.cwd / part).resolve() for part in self._text(name, "").split(":") if part]

    def _number(self, name: str, default: int, low: int, high: int) -> int:
        text = self._text(name, str(default))
        try:
            number = int(text)
        except ValueError:
            number = low - 1
        if not low <= number <= high:
            self.problems.append(f"{name}={text!r} is not a whole number from {low} to {high}")
        return number

    def _numbers(self, name: str, default: str, low: int, high: int) -> list[int]:
        words = [word for word in self._text(name, default).split(":") if word]
        wrong = [word for word in words if not (word.isdecimal() and low <= int(word[:20]) <= high)]
        for word in wrong or ([] if words else [""]):
            self.problems.append(f"{name}: {word!r} is not a whole number from {low} to {high}")
        return [] if wrong else [int(word) for word in words]

    def _choice(self, name: str, default: str, choices: tuple[str, ...]) -> str:
        text = self._text(name, default).lower()
        if text not in choices:
            self.problems.append(f"{name}={text!r} is none of {', '.join(choices)}")
        return text

    def _words(self, name: str, known: tuple[str, ...]) -> tuple[str, ...]:
        words = tuple(word for word in self._text(name, ":".join(known)).lower().split(":") if word)
        for word in words or ("",):
            if word not in known:
                self.problems.append(f"{name}: {word!r} is none of {', '.join(known)}")
        return words

    def _origins(self, name: str) -> tuple[str, ...]:
        origins = tuple(self._text(name, "").lower().split())
        if origins == ("*",):
            return origins
        for origin in origins:
            if not ORIGIN.fullmatch(origin):
                self.problems.append(
                    f"{name}: {origin!r} is no origin: write scheme, host and port as in "
                    "https://app.example.org, several with spaces between, or * alone for all"
                )
        return origins

    def _networks(self, name: str) -> tuple[str, ...]:
        networks = tuple(self._text(name, "").split())
        for network in networks:
            try:
                ip_network(network)
            except ValueError as error:
                self.problems.append(
                    f"{name}: {error}: write addresses or networks as 10.0.0.0/24, with spaces between"
                )
        return networks

    def _secret(self, name: str) -> str | None:
        self.asked.add(name)
        file = self.values.get(f"{name}_FILE")
        if file is None:
            return self.values.get(name)
        if name in self.values:
            self.problems.append(f"{name} and {name}_FILE are both set: keep one")
        try:
            return Path(file).read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            self.problems.append(f"{name}_FILE={file!r} cannot be read: {error}")
            return None

    def _database(self) -> str | None:
        url = self._secret("STOKER_DATABASE_URL")
        return None if url is None else self._url("STOKER_DATABASE_URL", url, DATABASES)

    def _url(self, name: str, value: str, schemes: tuple[str, ...]) -> str:
        if not value.startswith(schemes):  # the value may hold a password: it is not repeated here
            self.problems.append(f"{name} must start with one of {', '.join(schemes)}")
        return value

    def _unknown(self) -> None:
        for name in sorted(set(self.values) - self.asked):
            close = difflib.get_close_matches(name, self.asked, n=1)
            self.problems.append(f"{name} is no setting" + (f"; did you mean {close[0]}?" if close else ""))
