"""A proxy in front of a server that does to its connections what networks and restarts do."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from collections.abc import Sequence
from contextlib import suppress

BUSY = json.dumps({"success": False, "error": ["The message broker is away"], "code": "broker_unavailable"})
REFUSAL = (
    "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nRetry-After: 0\r\n"
    "Access-Control-Allow-Origin: *\r\nAccess-Control-Expose-Headers: Retry-After\r\n"
    f"Connection: close\r\nContent-Length: {len(BUSY)}\r\n\r\n{BUSY}"
).encode()
CUT = re.compile(rb"(event: .*?){2}\n\n|(?=event: completed)", re.DOTALL)
TO_READ = 0.5  # s; a browser forgets what its page has not read when a connection breaks


class FaultyProxy:
    """Hands requests on, but the first POSTs and streams fare by a plan.

    Each fault is used up by the first request that it is for: `drop` (a POST is lost on its way), `lose` (a
    POST arrives, its answer is lost), `busy` (a POST is answered by 503), `cut` (a stream breaks off after
    its second event, or before its last).

    Attributes:
        url: http://127.0.0.1:<port>
        resumed: of each stream that was asked for, whether it was to go on after an event.
    """

    def __init__(self, upstream_port: int, plan: Sequence[str]) -> None:
        self._upstream = ("127.0.0.1", upstream_port)
        self._plan = list(plan)
        self.resumed: list[bool] = []
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def unused(self) -> list[str]:
        """The faults that no request has met."""
        return self._plan

    def close(self) -> None:
        """Take no more connections."""
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        """Serve one connection, one request after another."""
        with client, suppress(OSError), socket.create_connection(self._upstream) as server:
            while head := _read_until(client, b"\r\n\r\n"):
                fault = self._fault(head)
                body = _read_body(client, head)
                if fault == "drop":
                    return
                if fault == "busy":
                    client.sendall(REFUSAL)
                    return
                server.sendall(head + body)
                if fault == "lose":
                    server.recv(1)
                    return
                if not self._answer(server, client, cut=fault == "cut"):
                    return

    def _answer(self, server: socket.socket, client: socket.socket, cut: bool) -> bool:
        """Pass the answer on; tells whether the connections may go on."""
        head = _read_until(server, b"\r\n\r\n")
        client.sendall(head)
        if b"chunked" not in head.lower():
            client.sendall(_read_body(server, head))
            return bool(head)
        seen, sent = b"", 0
        while piece := server.recv(65536):
            seen += piece
            end = CUT.search(seen) if cut else None
            client.sendall(seen[sent : end.end() if end else None])
            if end:
                time.sleep(TO_READ)
                return False
            sent = len(seen)
            if seen.endswith(b"0\r\n\r\n"):
                return True
        return False

    def _fault(self, head: bytes) -> str | None:
        kind: set[str] = set()
        if head.startswith(b"GET ") and b"/events " in head:
            kind = {"cut"}
            self.resumed.append(b"\r\nlast-event-id: " in head.lower())
        if head.startswith(b"POST "):
            kind = {"drop", "lose", "busy"}
        with self._lock:
            return self._plan.pop(0) if self._plan and self._plan[0] in kind else None


def _read_until(connection: socket.socket, mark: bytes) -> bytes:
    text = b""
    while not text.endswith(mark):
        byte = connection.recv(1)
        if not byte:
            return b""
        text += byte
    return text


def _read_body(connection: socket.socket, head: bytes) -> bytes:
    length = 0
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            length = int(line.split(b":")[1])
    body = b""
    while len(body) < length and (piece := connection.recv(length - len(body))):
        body += piece
    return body
