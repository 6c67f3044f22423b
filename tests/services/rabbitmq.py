"""A private RabbitMQ node, or the one that STOKER_TEST_BROKER names.

STOKER_TEST_BROKER is the URL of a RabbitMQ that runs elsewhere, or a folder with the /usr of a Debian whose
RabbitMQ is to be started instead of the installed one; a relative folder is one of the checkout.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import urllib.parse
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import amqp

from tests.services.process import ROOT, TRIES, Process, StartError, free_port, missing, wait_until


class ForeignBroker:
    """The RabbitMQ that STOKER_TEST_BROKER names: its queues can be used, it cannot be stopped.

    Attributes:
        url: amqp:// URL of its vhost.
    """

    def __init__(self, url: str) -> None:
        self.url = url

    def vhost(self) -> str:
        """Give the URL of its one vhost."""
        return self.url

    def queue_length(self, name: str, url: str | None = None) -> int:
        """Count the messages of a queue that are ready for delivery.

        Raises:
            amqp.NotFound: there is no such queue.
        """
        with closing(amqp_connection(url or self.url)) as connection:
            return int(connection.channel().queue_declare(name, passive=True).message_count)

    def answers(self) -> bool:
        """Tell whether it takes connections now."""
        try:
            amqp_connection(self.url).close()
        except (OSError, amqp.AMQPError):
            return False
        return True

    def stop_app(self) -> None:
        """Stop serving in good order; the Erlang node stays."""
        missing("the broker of STOKER_TEST_BROKER cannot be stopped by a test: leave it unset")

    def start_app(self) -> None:
        """Serve again after `stop_app`."""
        missing("the broker of STOKER_TEST_BROKER cannot be started by a test: leave it unset")

    def kill(self) -> None:
        """End the node as a crash does; its data stay."""
        missing("the broker of STOKER_TEST_BROKER cannot be killed by a test: leave it unset")

    def start(self) -> None:
        """Start the node on its data and wait until it takes connections (about 5 s)."""
        missing("the broker of STOKER_TEST_BROKER cannot be started by a test: leave it unset")

    def restart(self) -> None:
        """Kill the node and start it again on its data."""
        self.kill()
        self.start()

    def close(self) -> None:
        """End what was started for the tests."""


class RabbitMQ(ForeignBroker):
    """A private RabbitMQ node.

    Attributes:
        url: amqp:// URL of a vhost that all tests share.
        port: of 127.0.0.1.

    Args:
        folder: of its data.
        debian: folder with the /usr to take RabbitMQ from; default: what is installed.
    """

    def __init__(self, folder: Path, debian: Path | None = None) -> None:
        self._folder = folder
        self._programs = rabbitmq_folder(debian)
        self._prefix = with_usr(debian / "usr") if debian else []
        self._epmd_program = "epmd" if debian else epmd_program()
        self._node: Process | None = None
        self._epmd: Process | None = None
        for remaining in reversed(range(TRIES)):
            self.port = free_port()
            super().__init__(f"amqp://guest:guest@127.0.0.1:{self.port}//")
            self._env = self._environment()
            try:
                return self.start()
            except StartError:
                self.close()
                if not remaining:
                    raise

    def _environment(self) -> dict[str, str]:
        for name in ("log", "mnesia"):
            (self._folder / name).mkdir(exist_ok=True)
        name = f"stoker-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        config = self._folder / "rabbitmq.conf"
        config.write_text(
            f"listeners.tcp.1 = 127.0.0.1:{self.port}\n"
            "disk_free_limit.absolute = 50MB\n"
            "raft.wal_max_size_bytes = 67108864\n"
        )
        advanced = self._folder / "advanced.config"
        advanced.write_text("[].\n")
        command_port = free_port()
        own = {
            "HOME": str(self._folder),  # the Erlang cookie is made there
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(free_port()),
            # The script becomes the node instead of watching it, so that it dies with the session.
            "RUNNING_UNDER_SYSTEMD": "true",
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(advanced),
            "RABBITMQ_CONFIG_FILE": str(config),
            "RABBITMQ_CONF_ENV_FILE": str(self._folder / "rabbitmq-env.conf"),
            "RABBITMQ_CTL_DIST_PORT_MIN": str(command_port),
            "RABBITMQ_CTL_DIST_PORT_MAX": str(command_port + 10),
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self._folder / "enabled_plugins"),
            "RABBITMQ_LOG_BASE": str(self._folder / "log"),
            "RABBITMQ_MNESIA_BASE": str(self._folder / "mnesia"),
            "RABBITMQ_NODENAME": f"{name}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_PID_FILE": str(self._folder / "pid"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
        }
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("RABBITMQ_")}
        return inherited | own

    def start(self) -> None:
        """Start the node on its data and wait until it takes connections (about 5 s)."""
        if self._epmd is None:  # started here, since a node would leave one behind
            port = self._env["ERL_EPMD_PORT"]
            command = [*self._prefix, self._epmd_program, "-address", "127.0.0.1", "-port", port]
            self._epmd = Process("epmd", command, self._env, self._folder / "epmd.log", cwd=self._folder)
        server = [*self._prefix, str(self._programs / "rabbitmq-server")]
        self._node = Process(
            "RabbitMQ", server, self._env, self._folder / "rabbitmq.log", self.answers, self._folder
        )
        self._node.wait_ready(60)

    @property
    def pid(self) -> int:
        """Process id of the node.

        Raises:
            StartError: it was never started.
        """
        if self._node is None:
            raise StartError("RabbitMQ was not started")
        return self._node.pid

    def ctl(self, *arguments: str) -> str:
        """Run `rabbitmqctl` (about 1 s) and give what it prints."""
        command = [*self._prefix, str(self._programs / "rabbitmqctl"), "--quiet", *arguments]
        done = subprocess.run(command, env=self._env, text=True, capture_output=True, timeout=60)
        if done.returncode:
            raise StartError(f"rabbitmqctl {' '.join(arguments)}: {done.stdout}{done.stderr}")
        return done.stdout

    def vhost(self) -> str:
        """Make a new vhost, give its URL."""
        name = uuid.uuid4().hex[:8]
        self.ctl(
            "eval",
            f'rabbit_vhost:add(<<"{name}">>, <<"tests">>), rabbit_auth_backend_internal:set_permissions('
            f'<<"guest">>, <<"{name}">>, <<".*">>, <<".*">>, <<".*">>, <<"tests">>).',
        )
        return f"amqp://guest:guest@127.0.0.1:{self.port}/{name}"

    @contextmanager
    def heartbeat(self, interval: int) -> Iterator[None]:
        """Let connections that are opened now show signs of life every `interval` seconds."""
        self.ctl("eval", f"application:set_env(rabbit, heartbeat, {interval}).")
        try:
            yield
        finally:
            self.ctl("eval", "application:set_env(rabbit, heartbeat, 60).")

    def stop_app(self) -> None:
        """Stop serving in good order; the Erlang node stays."""
        self.ctl("stop_app")

    def start_app(self) -> None:
        """Serve again after `stop_app`."""
        self.ctl("start_app")
        wait_until(self.answers, 30, "RabbitMQ after start_app")

    def kill(self) -> None:
        """End the node as a crash does; its data stay.

        RabbitMQ 3.10 writes the registry of its quorum queues up to 3 minutes late: a crash loses younger
        queues with all messages. It is written here first: tests are about crashes of older queues.
        """
        if self._node and self._node.returncode is None:
            self.ctl("eval", "[dets:sync(Table) || Table <- dets:all()].")
        self._end_node()

    def _end_node(self) -> None:
        if self._node:
            self._node.close()

    def close(self) -> None:
        """End node and port mapper."""
        self._end_node()
        if self._epmd:
            self._epmd.close()
            self._epmd = None


def amqp_connection(url: str) -> amqp.Connection:
    """Connect to a broker; fails within 5 s."""
    parts = urllib.parse.urlsplit(url)
    connection = amqp.Connection(
        host=f"{parts.hostname}:{parts.port or 5672}",
        userid=urllib.parse.unquote(parts.username or "guest"),
        password=urllib.parse.unquote(parts.password or "guest"),
        virtual_host=urllib.parse.unquote(parts.path[1:]) or "/",
        connect_timeout=5,
        read_timeout=5,
    )
    connection.connect()
    return connection


def named_broker(name: str, folder: Path) -> ForeignBroker:
    """Give the RabbitMQ that STOKER_TEST_BROKER names; a private node is started.

    Args:
        name: value of STOKER_TEST_BROKER; empty: the installed RabbitMQ.
        folder: of a private node's data.
    """
    if "://" in name:
        return ForeignBroker(name)
    return RabbitMQ(folder, ROOT / name if name else None)


def with_usr(usr: Path) -> list[str]:
    """Give the beginning of a command that runs with another /usr; every other path stays what it is.

    On Debian /bin and /lib are links into /usr: all programs and libraries are the other ones. The mount is
    there for the command and its children only, and so is gone with them however they end. The process
    becomes the command: its id and its death with the session are as without.
    """
    return ["unshare", "--mount", "sh", "-c", 'mount --bind "$0" /usr && exec "$@"', str(usr)]


def rabbitmq_folder(debian: Path | None = None) -> Path:
    """Find the folder of RabbitMQ's own scripts. Skips the test where there is none.

    Debian's wrappers in /usr/sbin serve only its system-wide node, so they are passed over.

    Args:
        debian: folder with the /usr to look in, see `with_usr`; default: the whole machine.
    """
    scripts = Path("/usr/lib/rabbitmq/bin")
    if debian:
        if (debian / scripts.relative_to("/") / "rabbitmq-server").exists():
            return scripts
        missing(f"{debian} (STOKER_TEST_BROKER) holds no RabbitMQ: make test-rabbitmq4 sees to one")
    candidates = [scripts, *sorted(Path("/usr/lib/rabbitmq/lib").glob("*/sbin"))]
    if on_path := shutil.which("rabbitmq-server"):
        candidates.append(Path(on_path).parent)
    for folder in candidates:
        if (folder / "rabbitmq-server").exists() and (folder / "rabbitmqctl").exists():
            return folder
    missing("RabbitMQ is not installed: apt-get install rabbitmq-server, or set STOKER_TEST_BROKER")


def epmd_program() -> str:
    """Find Erlang's port mapper."""
    if found := shutil.which("epmd"):
        return found
    return str(next(Path("/usr/lib/erlang").glob("erts-*/bin/epmd")))
