"""How this installation runs.

Every setting has one name, `STOKER_<NAME>`. It stands in the environment or in a file `stoker.toml`
of the current folder, under the same name; the environment wins. A secret may be given by file:
`STOKER_BROKER_URL_FILE=/run/secrets/broker` and so on.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from schemas import OPTIONAL, SHIPPED, MediaLimits
from tasks.environment import Environment
from tasks.errors import SettingsError
from tasks.guard.rules import DEFAULT_PORTS, Rules, read_private
from tasks.secrets import read_or_create

LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"  # of all our processes
MOST_PIXELS = 178_956_970  # of one image: Pillow takes no more
WEBHOOK_DELAYS = "5:300:1800:7200:18000:36000:36000"  # s; of Standard Webhooks, over somewhat more than a day
LONGEST_SOCKET_PATH = 107  # bytes; sun_path of Linux's unix(7), less its closing zero
BROKERS = ("amqp://", "amqps://", "redis://", "rediss://", "redis+socket://")
STORES = ("redis://", "rediss://", "unix://")
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
        max_held_bytes: bytes of all large request bodies that one API process holds at a time.
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
    max_held_bytes: int
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
        env = Environment(os.environ if environ is None else environ, cwd or Path.cwd())
        home = env.path("STOKER_HOME", ".stoker")
        broker = env.secret("STOKER_BROKER_URL")
        store = env.secret("STOKER_STORE_URL")
        database = env.secret("STOKER_DATABASE_URL")
        embedded = broker is None and store is None
        if not embedded and (broker is None or store is None):
            env.problems.append("STOKER_BROKER_URL and STOKER_STORE_URL go together: set both or neither")
        socket = home / "redis.sock"
        if embedded and len(os.fsencode(socket)) > LONGEST_SOCKET_PATH:
            env.problems.append(
                f"STOKER_HOME={home} is too long for a Unix socket in it "
                f"({LONGEST_SOCKET_PATH} bytes): choose a shorter path"
            )
        sd_model = env.text("STOKER_SD_MODEL", "") or None
        settings = Settings(
            home=home,
            host=env.text("STOKER_HOST", "127.0.0.1"),
            port=env.number("STOKER_PORT", 7777, 1, 65535),
            flower_host=env.text("STOKER_FLOWER_HOST", "127.0.0.1"),
            flower_port=env.number("STOKER_FLOWER_PORT", 5555, 1, 65535),
            metrics_host=env.text("STOKER_METRICS_HOST", "127.0.0.1"),
            metrics_port=env.number("STOKER_METRICS_PORT", 0, 0, 65535),
            broker_url=env.url(
                "STOKER_BROKER_URL", broker or f"redis+socket://{quote(str(socket))}", BROKERS
            ),
            store_url=env.url("STOKER_STORE_URL", store or f"unix://{quote(str(socket))}", STORES),
            database_url=database and env.url("STOKER_DATABASE_URL", database, DATABASES),
            embedded=embedded,
            endpoint_folders=(
                SHIPPED,
                *(folder for setting, folder in OPTIONAL.items() if env.text(setting, "")),
                *env.folders("STOKER_ENDPOINTS"),
            ),
            sd_model=sd_model,
            api_processes=env.number("STOKER_API_PROCESSES", 1, 1, 256),
            drain_timeout=env.number("STOKER_DRAIN_TIMEOUT", 0, 0, 86_400),
            log_level=env.choice("STOKER_LOG_LEVEL", "info", ("debug", "info", "warning", "error")),
            secret_key=env.secret("STOKER_SECRET_KEY"),
            flower_password=env.secret("STOKER_FLOWER_PASSWORD"),
            max_body_size=env.number("STOKER_MAX_BODY_SIZE", 100_000_000, 1, 2**40),
            max_held_bytes=env.number("STOKER_MAX_HELD_BYTES", 1_000_000_000, 1, 2**50),
            max_wait=env.number("STOKER_MAX_WAIT", 600, 1, 86_400),
            media_limits=_media_limits(env),
            demo_key=env.flag("STOKER_DEMO_KEY", True),
            requests_per_minute=env.number("STOKER_REQUESTS_PER_MINUTE", 0, 0, 10**9),
            jobs_at_once=env.number("STOKER_JOBS_AT_ONCE", 0, 0, 10**9),
            bytes_per_day=env.number("STOKER_BYTES_PER_DAY", 0, 0, 10**15),
            seconds_per_day=env.number("STOKER_SECONDS_PER_DAY", 0, 0, 10**9),
            usage_days=env.number("STOKER_USAGE_DAYS", 90, 1, 36_500),
            outgoing=_outgoing(env),
            webhooks=env.flag("STOKER_WEBHOOKS", True),
            webhook_delays=tuple(env.numbers("STOKER_WEBHOOK_DELAYS", WEBHOOK_DELAYS, 0, 86_400)),
            cors_origins=env.origins("STOKER_CORS_ORIGINS"),
            trusted_proxies=env.networks("STOKER_TRUSTED_PROXIES"),
            upload_lifetime=env.number("STOKER_UPLOAD_LIFETIME", 3600, 1, 10**6),
            uploads_per_key=env.number("STOKER_UPLOADS_PER_KEY", 100, 1, 1000),
            upload_bytes_per_key=env.number("STOKER_UPLOAD_BYTES_PER_KEY", 500_000_000, 1, 2**40),
            max_queued_bytes=env.number("STOKER_MAX_QUEUED_BYTES", 2_000_000_000, 0, 2**50),
        )
        if settings.max_held_bytes < settings.max_body_size:
            env.problems.append(
                f"STOKER_MAX_HELD_BYTES={settings.max_held_bytes} is less than STOKER_MAX_BODY_SIZE="
                f"{settings.max_body_size}: a body of that size would never be taken"
            )
        env.unknown()
        if env.problems:
            raise SettingsError(env.problems)
        return settings


def _media_limits(env: Environment) -> MediaLimits:
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
        image_formats=env.words("STOKER_IMAGE_FORMATS", default.image_formats),
        audio_formats=env.words("STOKER_AUDIO_FORMATS", default.audio_formats),
        video_formats=env.words("STOKER_VIDEO_FORMATS", default.video_formats),
        **{
            name: env.number(f"STOKER_MEDIA_{name.upper()}", int(getattr(default, name)), 1, most)
            for name, most in numbers.items()
        },
    )


def _outgoing(env: Environment) -> Rules:
    try:
        names, networks = read_private(env.text("STOKER_OUTGOING_PRIVATE", ""))
    except ValueError as error:
        names, networks = frozenset(), ()
        env.problems.append(
            f"STOKER_OUTGOING_PRIVATE: {str(error)!r} is no host, address or network (IPv6 in brackets)"
        )
    return Rules(
        schemes=frozenset(env.words("STOKER_OUTGOING_SCHEMES", tuple(DEFAULT_PORTS))),
        ports=frozenset(env.numbers("STOKER_OUTGOING_PORTS", "443:80", 1, 65535)),
        names=names,
        networks=networks,
    )
