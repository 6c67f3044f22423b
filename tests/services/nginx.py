"""NGINX with docker/nginx.conf."""

from __future__ import annotations

import http.client
import os
import shutil
from pathlib import Path

from tests.services.process import ROOT, Process, free_port, missing


class Nginx(Process):
    """A real NGINX with this repository's configuration.

    Attributes:
        port: that it listens on.
        url: http://127.0.0.1:<port>
    """

    def __init__(self, folder: Path, *upstreams: int) -> None:
        """Start it in front of the APIs on these ports; skips the test where there is none."""
        program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
        if program is None:
            missing("NGINX is not installed: apt-get install nginx-light")
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        shutil.copy(ROOT / "docker" / "nginx.conf", folder)
        (folder / "nginx.d").mkdir()
        servers = " ".join(f"server 127.0.0.1:{port};" for port in upstreams)
        (folder / "nginx.d" / "upstream.conf").write_text(
            f"upstream stoker {{ {servers} keepalive 8; keepalive_timeout 5s; }}"
        )
        (folder / "nginx.d" / "listen.conf").write_text(f"listen 127.0.0.1:{self.port};")
        user = "user root; " if os.getuid() == 0 else ""
        command = [program, "-p", str(folder), "-c", str(folder / "nginx.conf"), "-g", f"{user}daemon off;"]
        super().__init__("NGINX", command, os.environ, folder / "nginx.log", self.answers)

    def connect(self) -> http.client.HTTPConnection:
        """Give a client."""
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)

    def answers(self) -> bool:
        """Tell whether it answers, with or without its API."""
        try:
            return self.ask("GET", "/healthz")[0] in (200, 503)
        except OSError:
            return False

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, str]:
        """Send one request; gives status and body."""
        connection = self.connect()
        try:
            connection.request(method, path, body, {k.replace("_", "-"): v for k, v in headers.items()})
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()
